/*
 * fault.h
 *	  Points at which a test may have the worker die.
 *
 * Each names the moment just before or after something that must not be torn
 * apart. They are compiled in for the tests in test/fault only (make
 * FAULTS=1); in the library that people install there is nothing of them.
 */
#ifndef WEBHOOK_FAULT_H
#define WEBHOOK_FAULT_H

#ifdef WEBHOOK_FAULTS
extern void wh_fault(const char *point);
#define WH_FAULT(point) wh_fault(point)
#else
#define WH_FAULT(point) ((void) 0)
#endif

#endif /* WEBHOOK_FAULT_H */
