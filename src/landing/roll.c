/* SPDX-License-Identifier: Apache-2.0 */
#include "roll.h"

static bool ask(struct mr_roll *roll, enum mr_roll_reason why, enum mr_roll_reason *out)
{
    if (roll->asked & (1u << why))
        return false;
    roll->asked |= 1u << why;
    *out = why;
    return true;
}

bool mr_roll_due(struct mr_roll *roll, int64_t now_ms, int32_t today, enum mr_roll_reason *why)
{
    if (roll->first_ms < 0)
        return false; /* nothing in it: it may stay open past midnight and take the next day when it is begun anew */
    if (roll->bytes >= roll->size_limit && ask(roll, MR_ROLL_SIZE, why))
        return true;
    if (now_ms - roll->first_ms >= roll->age_limit_ms && ask(roll, MR_ROLL_AGE, why))
        return true;
    /* A clock that stepped back makes today earlier than the landing's day: no reason to end it. */
    return today > roll->day && ask(roll, MR_ROLL_MIDNIGHT, why);
}

int64_t mr_roll_wait(const struct mr_roll *roll, int64_t now_ms, int64_t most)
{
    if (roll->first_ms < 0 || (roll->asked & (1u << MR_ROLL_AGE)))
        return most;
    int64_t left = roll->first_ms + roll->age_limit_ms - now_ms;
    return left < 0 ? 0 : left < most ? left : most;
}
