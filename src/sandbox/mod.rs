//! Pretend CRMs, stateful and strict.
