/* SPDX-License-Identifier: Apache-2.0 */
/* oids.h - the built-in types that something is known of; their numbers are the same in every server (pg_type.dat). */
#ifndef MR_POSTGRES_OIDS_H
#define MR_POSTGRES_OIDS_H

enum {
    PG_OID_BOOL = 16,
    PG_OID_BYTEA = 17,
    PG_OID_CHAR = 18,
    PG_OID_NAME = 19,
    PG_OID_INT8 = 20,
    PG_OID_INT2 = 21,
    PG_OID_INT4 = 23,
    PG_OID_TEXT = 25,
    PG_OID_OID = 26,
    PG_OID_TID = 27,
    PG_OID_XID = 28,
    PG_OID_CID = 29,
    PG_OID_JSON = 114,
    PG_OID_XML = 142,
    PG_OID_CIDR = 650,
    PG_OID_FLOAT4 = 700,
    PG_OID_FLOAT8 = 701,
    PG_OID_MONEY = 790,
    PG_OID_INET = 869,
    PG_OID_BPCHAR = 1042,
    PG_OID_VARCHAR = 1043,
    PG_OID_DATE = 1082,
    PG_OID_TIME = 1083,
    PG_OID_TIMESTAMP = 1114,
    PG_OID_TIMESTAMPTZ = 1184,
    PG_OID_NUMERIC = 1700,
    PG_OID_RECORD = 2249,
    PG_OID_RECORD_ARRAY = 2287,
    PG_OID_UUID = 2950,
    PG_OID_JSONB = 3802,
    PG_OID_XID8 = 5069,
    PG_OID_FIRST_FOREIGN = 16384 /* from here on, extensions' and users' types */
};

#endif
