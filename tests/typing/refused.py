"""What type checkers must refuse: each line that says so, and no other."""

import polars as pl

import polars_edfi as edfi

DF = pl.DataFrame({"id": ["a"]})
STUDENTS = edfi.Resource("ed-fi/students")

STUDENTS.get_all(key=1, schema="opanapi")  # refused
STUDENTS.get_all(key=1, paging="cursors")  # refused
STUDENTS.get_all(key=1, worker=3)  # refused
STUDENTS.get_all(key=1, limit="many")  # refused
STUDENTS.get_all()  # refused
STUDENTS.batch_get_by_id(DF, id_col="id", schema="openapi")  # refused
STUDENTS.batch_get_all(DF, key_col="id", on_short="ignore")  # refused
STUDENTS.post_payload({}, key=1, commit="yes")  # refused
edfi.get_by_id("id", schema="auto")  # refused
edfi.get_all("url", token="t", schema="infer")  # refused
edfi.scan("ed-fi/students", client=DF)  # refused
edfi.scan("ed-fi/students", client=STUDENTS, schema="opanapi")  # refused
edfi.scan_all(DF, key_col="id", on_error="rows")  # refused
edfi.flatten([1])  # refused
edfi.EdFiClient(timeout="5")  # refused
edfi.EdFiClient(base_ulr="https://ods.example.org")  # refused
edfi.Resource()  # refused
DF.edfi.flatten(explode=3)  # refused
DF.lazy().edfi.sink_post_payload(payload_col="p", key_col="k", comit=True)  # refused
pl.col("p").edfi.post_payload(url="u", token="t", retries=3)  # refused
STUDENTS.batch_find_ids(DF, how="guess")  # refused
STUDENTS.validate(DF, rules=["schemas"])  # refused
STUDENTS.send({"ed-fi/students": "students.csv"})  # refused
STUDENTS.compare(DF, endpoint=3)  # refused
STUDENTS.batch_post_payload(DF, payload_col="p", key_col="k", retry_statuses="503")  # refused
STUDENTS.batch_post_payload(DF, payload_col="p", key_col="k", journal_sync="always")  # refused
edfi.sync(STUDENTS, into="lake", format="csv")  # refused
edfi.sync(STUDENTS)  # refused
edfi.summary(DF, DF, "k")  # refused
STUDENTS.aio.batch_get_all(DF, key_col="k", limits=3)  # refused
print(STUDENTS.stats["requests"])  # refused
edfi.sync(DF, into="lake", key_col="id", worker=3)  # refused
edfi.scan_all(DF, key_col="id", auth_key_col="k", auth_secret_col="s", worker=3)  # refused
STUDENTS.send({"ed-fi/students": DF}, auth_key_col="k", comit=True)  # refused
STUDENTS.batch_fetch_tokens(DF, oauth_endpoint="oauth/token")  # refused
