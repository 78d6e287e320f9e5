//! SQL shared by the stores and queues on SQL databases.
