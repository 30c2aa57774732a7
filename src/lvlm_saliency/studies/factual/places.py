"""Facts about places. Written for this project from common knowledge; what is disputed or has changed lately is left
out."""

from __future__ import annotations

COUNTRIES = """
France: Paris: Europe: French: euro
Peru: Lima: South America: Spanish: sol|nuevo sol|peruvian sol
Kenya: Nairobi: Africa: -: shilling|kenyan shilling
Japan: Tokyo: Asia: Japanese: yen|japanese yen
Germany: Berlin: Europe: German: euro
Italy: Rome: Europe: Italian: euro
Spain: Madrid: Europe: Spanish: euro
Portugal: Lisbon: Europe: Portuguese: euro
Greece: Athens: Europe: Greek: euro
Austria: Vienna: Europe: German: euro
Belgium: Brussels: Europe: -: euro
Ireland: Dublin: Europe: -: euro
Finland: Helsinki: Europe: -: euro
Sweden: Stockholm: Europe: Swedish: krona|swedish krona|kronor|swedish kronor
Norway: Oslo: Europe: Norwegian: krone|norwegian krone|kroner|norwegian kroner
Denmark: Copenhagen: Europe: Danish: krone|danish krone|kroner|danish kroner
Iceland: Reykjavik: Europe: Icelandic: krona|icelandic krona
Poland: Warsaw: Europe: Polish: zloty|polish zloty
Hungary: Budapest: Europe: Hungarian: forint|hungarian forint
Romania: Bucharest: Europe: Romanian: leu|romanian leu
Bulgaria: Sofia: Europe: Bulgarian: -
Croatia: Zagreb: Europe: Croatian: euro|kuna|croatian kuna
Serbia: Belgrade: Europe: Serbian: dinar|serbian dinar
Slovenia: Ljubljana: Europe: Slovenian|Slovene: euro
Slovakia: Bratislava: Europe: Slovak: euro
Albania: Tirana: Europe: Albanian: lek|albanian lek
North Macedonia: Skopje: Europe: -: denar|macedonian denar
Ukraine: Kyiv|Kiev: Europe: Ukrainian: hryvnia|ukrainian hryvnia
Belarus: Minsk: Europe: -: ruble|rouble|belarusian ruble
Moldova: Chisinau: Europe: -: leu|moldovan leu
Lithuania: Vilnius: Europe: Lithuanian: euro
Latvia: Riga: Europe: Latvian: euro
Estonia: Tallinn: Europe: Estonian: euro
Switzerland: Bern|Berne: Europe: -: franc|swiss franc
Luxembourg: Luxembourg: Europe: -: euro
Malta: Valletta: Europe: -: euro
Monaco: Monaco: Europe: French: euro
Andorra: Andorra la Vella: Europe: Catalan: euro
Montenegro: Podgorica: Europe: -: euro
Bosnia and Herzegovina: Sarajevo: Europe: -: -
China: Beijing: Asia: Chinese|Mandarin|Standard Chinese: yuan|renminbi|chinese yuan
India: New Delhi|Delhi: Asia: -: rupee|indian rupee
South Korea: Seoul: Asia: Korean: won|south korean won|korean won
North Korea: Pyongyang: Asia: Korean: won|north korean won
Mongolia: Ulaanbaatar|Ulan Bator: Asia: Mongolian: tugrik|mongolian tugrik|togrog
Vietnam: Hanoi: Asia|Southeast Asia: Vietnamese: dong|vietnamese dong
Thailand: Bangkok: Asia|Southeast Asia: Thai: baht|thai baht
Cambodia: Phnom Penh: Asia|Southeast Asia: Khmer: riel|cambodian riel
Laos: Vientiane: Asia|Southeast Asia: Lao|Laotian: kip|lao kip
Myanmar: Naypyidaw|Nay Pyi Taw: Asia|Southeast Asia: Burmese: kyat|burmese kyat|myanmar kyat
Malaysia: Kuala Lumpur: Asia|Southeast Asia: Malay: ringgit|malaysian ringgit
Singapore: Singapore: Asia|Southeast Asia: -: dollar|singapore dollar
Philippines: Manila: Asia|Southeast Asia: -: peso|philippine peso
Bangladesh: Dhaka: Asia: Bengali|Bangla: taka|bangladeshi taka
Nepal: Kathmandu: Asia: Nepali: rupee|nepalese rupee
Bhutan: Thimphu: Asia: Dzongkha: ngultrum
Pakistan: Islamabad: Asia: -: rupee|pakistani rupee
Afghanistan: Kabul: Asia: -: afghani
Iran: Tehran: Asia: Persian|Farsi: rial|iranian rial
Iraq: Baghdad: Asia: -: dinar|iraqi dinar
Syria: Damascus: Asia: Arabic: pound|syrian pound
Lebanon: Beirut: Asia: Arabic: pound|lebanese pound|lira
Jordan: Amman: Asia: Arabic: dinar|jordanian dinar
Saudi Arabia: Riyadh: Asia: Arabic: riyal|saudi riyal
Yemen: Sanaa|Sana'a: Asia: Arabic: rial|yemeni rial
Oman: Muscat: Asia: Arabic: rial|omani rial
Qatar: Doha: Asia: Arabic: riyal|qatari riyal
Kuwait: Kuwait City: Asia: Arabic: dinar|kuwaiti dinar
Bahrain: Manama: Asia: Arabic: dinar|bahraini dinar
Uzbekistan: Tashkent: Asia: Uzbek: som|sum|uzbekistani som
Kyrgyzstan: Bishkek: Asia: -: som|kyrgyzstani som
Tajikistan: Dushanbe: Asia: Tajik: somoni
Turkmenistan: Ashgabat: Asia: Turkmen: manat|turkmen manat
Maldives: Male|Malé: Asia: Dhivehi|Maldivian: rufiyaa
Morocco: Rabat: Africa: -: dirham|moroccan dirham
Algeria: Algiers: Africa: -: dinar|algerian dinar
Tunisia: Tunis: Africa: Arabic: dinar|tunisian dinar
Libya: Tripoli: Africa: Arabic: dinar|libyan dinar
Sudan: Khartoum: Africa: -: pound|sudanese pound
Ethiopia: Addis Ababa: Africa: -: birr|ethiopian birr
Eritrea: Asmara: Africa: -: nakfa
Somalia: Mogadishu: Africa: -: shilling|somali shilling
Uganda: Kampala: Africa: -: shilling|ugandan shilling
Rwanda: Kigali: Africa: -: franc|rwandan franc
Angola: Luanda: Africa: Portuguese: kwanza|angolan kwanza
Mozambique: Maputo: Africa: Portuguese: metical
Zambia: Lusaka: Africa: English: kwacha|zambian kwacha
Zimbabwe: Harare: Africa: -: -
Malawi: Lilongwe: Africa: -: kwacha|malawian kwacha
Botswana: Gaborone: Africa: English: pula|botswana pula
Namibia: Windhoek: Africa: English: dollar|namibian dollar
Madagascar: Antananarivo: Africa: -: ariary|malagasy ariary
Mauritius: Port Louis: Africa: -: rupee|mauritian rupee
Seychelles: Victoria: Africa: -: rupee|seychellois rupee
Nigeria: Abuja: Africa: English: naira|nigerian naira
Ghana: Accra: Africa: English: cedi|ghanaian cedi
Senegal: Dakar: Africa: French: franc|cfa franc|west african cfa franc
Mali: Bamako: Africa: -: franc|cfa franc|west african cfa franc
Niger: Niamey: Africa: -: franc|cfa franc|west african cfa franc
Chad: N'Djamena|Ndjamena: Africa: -: franc|cfa franc|central african cfa franc
Cameroon: Yaounde|Yaoundé: Africa: -: franc|cfa franc|central african cfa franc
Gabon: Libreville: Africa: French: franc|cfa franc|central african cfa franc
Togo: Lome|Lomé: Africa: French: franc|cfa franc|west african cfa franc
Burkina Faso: Ouagadougou: Africa: -: franc|cfa franc|west african cfa franc
Liberia: Monrovia: Africa: English: dollar|liberian dollar
Sierra Leone: Freetown: Africa: English: leone
Gambia: Banjul: Africa: English: dalasi
Guinea: Conakry: Africa: French: franc|guinean franc
Mauritania: Nouakchott: Africa: Arabic: ouguiya
Djibouti: Djibouti: Africa: -: franc|djiboutian franc
Cape Verde: Praia: Africa: Portuguese: escudo|cape verdean escudo
Lesotho: Maseru: Africa: -: loti
Canada: Ottawa: North America: -: dollar|canadian dollar
Mexico: Mexico City: North America: Spanish: peso|mexican peso
Guatemala: Guatemala City: North America|Central America: Spanish: quetzal|guatemalan quetzal
Honduras: Tegucigalpa: North America|Central America: Spanish: lempira|honduran lempira
Nicaragua: Managua: North America|Central America: Spanish: cordoba|córdoba|nicaraguan cordoba
Costa Rica: San Jose|San José: North America|Central America: Spanish: colon|colón|costa rican colon
Panama: Panama City: North America|Central America: Spanish: balboa|panamanian balboa|dollar|us dollar
El Salvador: San Salvador: North America|Central America: Spanish: -
Cuba: Havana: North America|the Caribbean|Caribbean: Spanish: peso|cuban peso
Jamaica: Kingston: North America|the Caribbean|Caribbean: English: dollar|jamaican dollar
Haiti: Port-au-Prince: North America|the Caribbean|Caribbean: -: gourde|haitian gourde
Bahamas: Nassau: North America|the Caribbean|Caribbean: English: dollar|bahamian dollar
Barbados: Bridgetown: North America|the Caribbean|Caribbean: English: dollar|barbadian dollar
Dominican Republic: Santo Domingo: North America|the Caribbean|Caribbean: Spanish: peso|dominican peso
Brazil: Brasilia|Brasília: South America: Portuguese: real|brazilian real
Argentina: Buenos Aires: South America: Spanish: peso|argentine peso
Chile: Santiago: South America: Spanish: peso|chilean peso
Colombia: Bogota|Bogotá: South America: Spanish: peso|colombian peso
Venezuela: Caracas: South America: Spanish: bolivar|bolívar|venezuelan bolivar
Ecuador: Quito: South America: Spanish: dollar|us dollar|united states dollar|u.s. dollar|american dollar
Uruguay: Montevideo: South America: Spanish: peso|uruguayan peso
Paraguay: Asuncion|Asunción: South America: -: guarani|guaraní|paraguayan guarani
Guyana: Georgetown: South America: English: dollar|guyanese dollar
Suriname: Paramaribo: South America: Dutch: dollar|surinamese dollar
Australia: Canberra: Australia|Oceania: English: dollar|australian dollar
New Zealand: Wellington: Oceania|Australasia: -: dollar|new zealand dollar
Fiji: Suva: Oceania: -: dollar|fijian dollar
Papua New Guinea: Port Moresby: Oceania|Australasia|Australia: -: kina
Samoa: Apia: Oceania: -: tala
Tonga: Nuku'alofa|Nukualofa: Oceania: -: paanga|pa'anga
"""
"""Country: capital: continent: official language, where one stands alone: currency. "-": not asked."""

STATES = """
Texas: Austin
Ohio: Columbus
Oregon: Salem
Alabama: Montgomery
Alaska: Juneau
Arizona: Phoenix
Arkansas: Little Rock
California: Sacramento
Colorado: Denver
Connecticut: Hartford
Delaware: Dover
Florida: Tallahassee
Georgia: Atlanta
Hawaii: Honolulu
Idaho: Boise
Illinois: Springfield
Indiana: Indianapolis
Iowa: Des Moines
Kansas: Topeka
Kentucky: Frankfort
Louisiana: Baton Rouge
Maine: Augusta
Maryland: Annapolis
Massachusetts: Boston
Michigan: Lansing
Minnesota: Saint Paul|St Paul|St. Paul
Mississippi: Jackson
Missouri: Jefferson City
Montana: Helena
Nebraska: Lincoln
Nevada: Carson City
New Hampshire: Concord
New Jersey: Trenton
New Mexico: Santa Fe
New York: Albany
North Carolina: Raleigh
North Dakota: Bismarck
Oklahoma: Oklahoma City
Pennsylvania: Harrisburg
Rhode Island: Providence
South Carolina: Columbia
South Dakota: Pierre
Tennessee: Nashville
Utah: Salt Lake City
Vermont: Montpelier
Virginia: Richmond
Washington: Olympia
West Virginia: Charleston
Wisconsin: Madison
Wyoming: Cheyenne
"""

SIGHTS = """
the Eiffel Tower: France|Paris|Europe
Machu Picchu: Peru|South America
Mount Fuji: Japan|Asia
the Colosseum: Italy|Rome|Europe
the Taj Mahal: India|Agra|Asia
the Great Sphinx: Egypt|Giza|Africa
the Acropolis: Greece|Athens|Europe
the Brandenburg Gate: Germany|Berlin|Europe
Big Ben: England|the United Kingdom|United Kingdom|UK|Great Britain|Britain|London|Europe
Stonehenge: England|the United Kingdom|United Kingdom|UK|Great Britain|Britain|Europe
the Alhambra: Spain|Granada|Europe
Angkor Wat: Cambodia|Asia
Petra: Jordan|Asia|the Middle East|Middle East
Borobudur: Indonesia|Asia
Chichen Itza: Mexico|North America
the Statue of Liberty: the United States|United States|USA|US|America|New York|North America
the Grand Canyon: the United States|United States|USA|US|America|Arizona|North America
Uluru: Australia|Oceania
the Sydney Opera House: Australia|Sydney|Oceania
Mount Kilimanjaro: Tanzania|Africa
Table Mountain: South Africa|Cape Town|Africa
the Forbidden City: China|Beijing|Asia
the Terracotta Army: China|Xi'an|Asia
the Burj Khalifa: the United Arab Emirates|United Arab Emirates|UAE|Dubai|Asia|the Middle East|Middle East
the Hagia Sophia: Turkey|Türkiye|Istanbul|Asia|Europe
the Kremlin: Russia|Moscow|Europe
the Leaning Tower of Pisa: Italy|Pisa|Europe
Neuschwanstein Castle: Germany|Bavaria|Europe
the Matterhorn: Switzerland|Europe
the Little Mermaid statue: Denmark|Copenhagen|Europe
the Atomium: Belgium|Brussels|Europe
Edinburgh Castle: Scotland|the United Kingdom|United Kingdom|UK|Edinburgh|Europe
the Blarney Stone: Ireland|Europe
the Rijksmuseum: the Netherlands|Netherlands|Holland|Amsterdam|Europe
the Prado Museum: Spain|Madrid|Europe
the Louvre: France|Paris|Europe
Christ the Redeemer: Brazil|Rio de Janeiro|South America
the Petronas Towers: Malaysia|Kuala Lumpur|Asia
Mount Vesuvius: Italy|Europe
the Shwedagon Pagoda: Myanmar|Burma|Yangon|Asia
"""
"""Sight: its country, or its city or continent, which is no less true."""
