"""Guards that clients calibrate over the API.

Labelled pictures arrive one by one (`paths`, `labels`) and are kept below the operator's folder (`store`). The worker
calibrates a guard from them between answers (`job`), and the guard becomes a method of this server.
"""
