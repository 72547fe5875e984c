"""Two districts read by the tasks of Spark, and rows written back, with one result for each.

Runs against the embedded sandbox: ``python examples/spark/read_and_write.py``. It needs
``pip install "polars-edfi[spark]"`` and Java 17.
"""

import json
import tempfile

from pyspark.sql import SparkSession

import polars_edfi as edfi
from polars_edfi import spark as edfi_spark


def main(session: SparkSession) -> None:
    """Count what two districts have, and post new students to one of them."""
    with edfi.Sandbox(districts=["255901", "255902"], records=400, strict=False) as ods:
        districts = ods.districts()
        scores = edfi_spark.read(
            session,
            districts,
            edfi.endpoints.STUDENT_ASSESSMENTS,
            key_col="District BK",
            columns=["id", "assessmentReference.assessmentIdentifier"],
        )
        scores.groupBy("District BK").count().orderBy("District BK").show()

        url, key, secret = districts.row(0)[1:]
        # No option of a query, which Spark may show, holds the secret then.
        edfi_spark.register(session, base_url=url, client_id=key, client_secret=secret)
        students = [
            {
                "studentUniqueId": str(number),
                "firstName": "Ada",
                "lastSurname": "Lovelace",
                "birthDate": "2015-12-10",
            }
            for number in range(9000, 9010)
        ]
        rows = [(student["studentUniqueId"], json.dumps(student)) for student in students]
        with tempfile.TemporaryDirectory() as results:
            writing = session.createDataFrame(rows, ["k", "payload"]).write.format("edfi")
            writing.options(
                endpoint="ed-fi/students", payload_col="payload", key_col="k", results=results
            ).mode("append").save()
            session.read.parquet(results).groupBy("status", "http_status").count().show()


if __name__ == "__main__":
    spark = SparkSession.builder.master("local[2]").appName("edfi").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    main(spark)
    spark.stop()
