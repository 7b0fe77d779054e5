//! TLS of the local gateway: an authority of its own, certificates for every name that a client asks for, and the files by
//! which functions trust it.
//!
//! What is *not* here: certificates of clients, revocation, and trust of browsers and systems, which only their users may
//! give (`docs/local.md` says how).

mod authority;
mod certificates;
mod trust;

pub use authority::{Authority, AuthorityError, CERTIFICATE, folder_of_user};
pub use certificates::Tls;
pub use trust::Trust;
