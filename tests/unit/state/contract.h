/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_TEST_STATE_CONTRACT_H
#define MILLRACE_TEST_STATE_CONTRACT_H

#include "unit/state/fixture.h"

/* Every promise of store.h and state.h against the store of this URL; `@/` stands for a test's own folder, and in a
 * database each test has its own schema. Returns the failures. */
int contract_run(const char *url);
int sqlite_run(void);
int postgres_run(const char *url);

#endif
