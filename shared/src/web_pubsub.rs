//! Azure Web PubSub: its hubs, groups, roles and tokens, which its clients and its servers share. How its clients talk is
//! [`protocol::web_pubsub`](crate::protocol::web_pubsub).
//!
//! A hub is a namespace of groups: the group `g` of the hub `h` is the topic `h/g`, and everybody in the hub is subscribed to
//! the topic `h`. Users are the stack's, and so is everyone.

mod audience;
mod body;
mod claims;
mod client;
mod errand;
mod grants;
mod greeting;
mod hub;
mod roles;

pub use audience::{hub_of_client, path_of};
pub use body::{InvalidBody, payload};
pub use claims::{Claimed, InvalidClaims, claimed};
pub use client::{Client, SendsTo};
pub use errand::{Errand, Step};
pub use grants::{Grants, GrantsFull, MAX_GRANT_BYTES};
pub use greeting::Greeting;
pub use hub::{Hub, InvalidGroup, InvalidHub, group_of};
pub use roles::{Right, Roles};
