/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_TEST_STATE_CONTRACT_H
#define MILLRACE_TEST_STATE_CONTRACT_H

#include "unit/state/fixture.h"

int contract_run(void); /* failures */
int sqlite_run(void);

#endif
