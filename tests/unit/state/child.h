/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_TEST_STATE_CHILD_H
#define MILLRACE_TEST_STATE_CHILD_H

/* Fault points are read from the environment once a process, so each case is a process. `what`:
 *   chain   opens (or makes) the store and decides p 0 -> 1 and then p 1 -> 2, each with a file, a row and an id
 *   again   the same, but a decision that failed for lack of the disk is tried again until it works
 *   stale   decides p with a version that is over
 *   broken  the second decision's commit fails, as on a broken disk; then it is decided again
 *   dead    the same, and for a second nothing can be written at all
 *   ending  the same, it never heals, and the store is told that the program ends; then it is closed
 *   set     opens what is there and sets p, as a person does
 *   open    opens what is there; make: makes it. Both print the reason of a failure
 *   climb   moves p on until it has done so 100 times, whatever version it finds; prints how often it was fenced
 *   again2  as chain, and the second decision is tried again until it works; what failed is printed
 * Returns the exit code: 10 + mr_code of the last decision, or 1 if anything else went wrong. */
int child_main(const char *what, const char *url);
/* Runs this program again with an extra variable of the environment ("NAME=value" or NULL). The status of waitpid(). */
int child_run(const char *what, const char *url, const char *variable);

#endif
