"""What an ODS says of itself: its resources, their columns, how many records there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from polars_edfi import _native
from polars_edfi._base import ClientBase
from polars_edfi._signatures import with_options
from polars_edfi.options import ColumnOptions, ParamsOption

if TYPE_CHECKING:
    import polars as pl


class Metadata(ClientBase):
    """The calls that ask an ODS about itself."""

    def resources(self) -> pl.DataFrame:
        """List the resources and descriptors of the client's own ODS.

        They come from the ODS's own OpenAPI documents. No credentials are needed where the ODS
        shows these to everybody, as most do. The process keeps what was read; this call asks the
        server whether it is still current (``If-None-Match``).

        Returns
        -------
        DataFrame
            One row each: ``endpoint`` (String, ``"ed-fi/students"``), ``namespace`` (String,
            ``"ed-fi"``), ``kind`` (String: ``"resource"`` or ``"descriptor"``), ``description``
            (String), ``key_fields`` (List(String): the properties that identify a record, those of
            references by their path) and ``has_deletes`` (Boolean: whether deleted records can be
            asked for).

        Raises
        ------
        EdFiError
            The client has no ``base_url``.
        HttpError, AuthError
            The ODS serves no metadata, or does not answer as it should.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=1) as ods:
        ...     client = edfi.EdFiClient(base_url=ods.districts()["targetUrl"][0])
        ...     resources = client.resources()
        >>> resources.filter(endpoint="ed-fi/students")["key_fields"].to_list()
        [['studentUniqueId']]
        """
        return _native.resources(self._native, self._call())

    def dependencies(self) -> pl.DataFrame:
        """List the order in which the client's own ODS wants its resources written.

        :meth:`send` follows this order, and deletes go the other way round. Each call asks the ODS
        again. No credentials are needed where the ODS shows its metadata to everybody.

        Returns
        -------
        DataFrame
            One row for each entry of the document, sorted: ``endpoint`` (String), ``order`` (Int32:
            what has the same order can be written side by side) and ``operations`` (List(String):
            ``"Create"``, ``"Update"``). People stand in it twice: they are created early, and who
            exists can be written again only after their associations.

        Raises
        ------
        EdFiError
            The client has no ``base_url``.
        HttpError, AuthError
            The feature is switched off (404), or the ODS does not answer as it should.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=1) as ods:
        ...     client = edfi.EdFiClient(base_url=ods.districts()["targetUrl"][0])
        ...     order = client.dependencies()
        >>> order.filter(endpoint="ed-fi/students")["operations"].to_list()
        [['Create'], ['Update']]
        """
        return _native.dependencies(self._native, self._call())

    @with_options("schema", ColumnOptions)
    def schema(self, endpoint: str, **options: Unpack[ColumnOptions]) -> pl.Schema:
        """Return the columns of a resource's flattened records, before any of them is read.

        They come from the ODS's own OpenAPI document, in its order: Date, Datetime(us, UTC), Int32
        and Int64, Float64, Boolean, String, List. The process keeps the document; this call asks
        the server whether it is still current (``If-None-Match``).

        Parameters
        ----------
        endpoint
            The resource or descriptor, such as ``"ed-fi/students"``.
        **options
            Those of :class:`polars_edfi.options.ColumnOptions`.

        Returns
        -------
        Schema
            The columns that ``get_all(schema="openapi")`` gives, without its ``_unknown``. Objects
            without known properties, and objects inside themselves, have no column: what records
            hold there stands in ``_unknown``. ``id``, ``_etag`` and ``_lastModifiedDate`` are there
            even if the document does not name them.

        Raises
        ------
        EdFiError
            The client has no ``base_url``, or the documents do not describe the endpoint.
        HttpError, AuthError
            The ODS serves no metadata, or does not answer as it should.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=1) as ods:
        ...     client = edfi.EdFiClient(base_url=ods.districts()["targetUrl"][0])
        ...     schema = client.schema("ed-fi/students", links=False)
        >>> schema["birthDate"], schema["_lastModifiedDate"]
        (Date, Datetime(time_unit='us', time_zone='UTC'))
        """
        call = self._call()
        return _native.schema(self._native, call, endpoint=endpoint, **options).schema

    @with_options("count", ParamsOption)
    def count(self, endpoint: str, **options: Unpack[ParamsOption]) -> int:
        """Count the records of a resource that the client may see, without reading any.

        Parameters
        ----------
        endpoint
            The resource or descriptor, such as ``"ed-fi/students"``.
        **options
            Those of :class:`polars_edfi.options.ParamsOption`.

        Returns
        -------
        int
            The server's ``Total-Count``.

        Raises
        ------
        EdFiError
            The client has no ``base_url`` or no credentials, or a parameter is unknown.
        HttpError, AuthError
            The ODS does not answer as it should, or does not count.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=12) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        ...     count = client.count("ed-fi/studentAssessments")
        >>> count
        12
        """
        return _native.count(self._native, self._call(), endpoint=endpoint, **options)
