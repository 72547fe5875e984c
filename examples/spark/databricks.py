# Databricks notebook source
# MAGIC %md
# MAGIC # Ed-Fi districts, as tables of a lake
# MAGIC Needs a runtime with Spark 4. A secret scope `edfi` has the key and secret of each ODS as
# MAGIC `<district>-key` and `<district>-secret`; the volume is seen by all machines.

# COMMAND ----------

# MAGIC %pip install polars-edfi

# COMMAND ----------

import polars as pl

from polars_edfi import spark as edfi_spark

dbutils.widgets.text("districts", "255901=https://ods.example.org/255901")
dbutils.widgets.text("lake", "/Volumes/main/edfi/lake")

rows = [pair.split("=", 1) for pair in dbutils.widgets.get("districts").split()]
districts = pl.DataFrame(rows, schema=["district", "targetUrl"], orient="row").with_columns(
    oAuthKey=pl.Series([dbutils.secrets.get("edfi", f"{name}-key") for name, _ in rows]),
    oAuthSecret=pl.Series([dbutils.secrets.get("edfi", f"{name}-secret") for name, _ in rows]),
)

# COMMAND ----------

# MAGIC %md ## A query of what the ODSs have now
# MAGIC `tasks`: how many run at once, which a shared or serverless cluster does not tell.

# COMMAND ----------

enrolled = edfi_spark.read(
    spark,
    districts,
    "ed-fi/studentSchoolAssociations",
    key_col="district",
    columns=["studentReference.studentUniqueId", "schoolReference.schoolId", "entryDate"],
    on_error="row",
    tasks=8,
)
enrolled.groupBy("district", "status").count().show()

# COMMAND ----------

# MAGIC %md ## Copies that stay equal, every night
# MAGIC The job fails where a resource failed; all others are up to date, and the next try is quick.

# COMMAND ----------

report = edfi_spark.sync(
    spark,
    districts,
    ["ed-fi/students", "ed-fi/studentSchoolAssociations"],
    into=dbutils.widgets.get("lake"),
    key_col="district",
    tasks=8,
)
failed = report.filter(pl.col("status") == "error")
if failed.height:
    raise RuntimeError(f"{failed.height} of {report.height} resources failed: {failed.rows()[:3]}")

# COMMAND ----------

students = spark.read.option("mergeSchema", True).parquet(
    f"{dbutils.widgets.get('lake')}/ed-fi/students"
)
students.createOrReplaceTempView("students")
