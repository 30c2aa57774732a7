"""Guards that people calibrate over the API: labelled pictures come in one by one (`labels`), are kept below the
operator's folder (`store`), learned from by the worker between answers (`job`), and give a method (`paths`)."""
