//! Work that waits: lanes of entries, leased with fencing tokens, settled once.
