//! The scripts: each one call, atomic and alone.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($(#[$meta:meta])* $name:ident = $file:literal),+ $(,)?) => {$(
        $(#[$meta])*
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("common.lua"), include_str!($file))));
    )+};
}

scripts!(
    CLAIM = "claim.lua",
    ENQUEUE = "enqueue.lua",
    EXTEND = "extend.lua",
    PARKED = "parked.lua",
    PURGE = "purge.lua",
    SETTLE = "settle.lua",
    STATS = "stats.lua",
    TAKE = "take.lua",
);
