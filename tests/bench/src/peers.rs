//! Peers that are this program in another role, in a process of their own: they need what the bench needs, and to link one
//! more program takes a minute.

pub(crate) mod bare_client;
pub(crate) mod polled;
