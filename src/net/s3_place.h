/* SPDX-License-Identifier: Apache-2.0 */
/* s3_place.h - where a bucket is: which host to ask and with what path. Pure.
 *
 * A bucket is asked for by its own host name where that can be (AWS), or as the path's first part (path style): with an endpoint of one's own, or a name
 * that is no host name, or has a dot, to which no certificate fits. */
#ifndef MR_NET_S3_PLACE_H
#define MR_NET_S3_PLACE_H

#include "millrace/buf.h"
#include "millrace/err.h"

enum { S3_HOST_MAX = 320, S3_BUCKET_MAX = 64, S3_REGION_MAX = 64 };
enum s3_style { S3_STYLE_AUTO, S3_STYLE_PATH, S3_STYLE_HOST };

struct s3_place {
    char bucket[S3_BUCKET_MAX], region[S3_REGION_MAX], host[S3_HOST_MAX]; /* host: with its port, if it is not the scheme's */
    bool https, in_path;
    char prefix[512]; /* of keys: "" or ending in a slash */
};
/* url: "s3://bucket[/prefix]". endpoint: "http[s]://host[:port]", or empty for AWS. region: empty for us-east-1. MR_ECONFIG says what was expected. */
MR_MUST enum mr_code s3_place_read(struct mr_str url, struct mr_str endpoint, struct mr_str region, enum s3_style style, struct s3_place *out, struct mr_err *err);
/* The same bucket in another region: as AWS names its hosts; of an endpoint of its own only the name to sign with changes. false: no name of a region, or the same. */
bool s3_place_move(struct s3_place *place, struct mr_str region);
/* Raw path of an object, prefix included; an empty key: of the bucket itself. */
void s3_place_path(const struct s3_place *place, struct mr_str key, struct mr_buf *out);

#endif
