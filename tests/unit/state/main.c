/* SPDX-License-Identifier: Apache-2.0 */
/* The contract, then what is SQLite's own; with a URL of Postgres, the contract and what is its own. With more arguments it is a child of its own tests: one that shall die, fail, or
 * meddle. */
#include "unit/state/child.h"
#include "unit/state/contract.h"

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], argv[2]);
    if (argc == 2)
        return contract_run(argv[1]) + postgres_run(argv[1]);
    int failures = contract_run("sqlite:@/state.db");
    return failures + sqlite_run();
}
