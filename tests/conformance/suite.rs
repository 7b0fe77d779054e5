//! What API Gateway does, fact by fact, asked of our gateway and, where environment variables name one, of somebody
//! else's or of a deployed API. `docs/gateway.md` says how.

mod authorizer;
mod bench;
mod beside;
mod closing;
mod connect;
mod disconnect;
mod events;
mod facts;
mod hello;
mod management;
mod messages;
mod run;
