//! Request bodies of a limited size.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

/// Reads a body to its end; `None` when it is longer than `limit`. The rest is still read, so that the client sees the
/// answer rather than a reset connection.
pub async fn collect(mut body: Body, limit: usize) -> Result<Option<Bytes>, axum::Error> {
    let mut collected = BytesMut::new();
    let mut too_large = false;
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let Some(data) = frame.data_ref() else { continue };
        too_large |= collected.len() + data.len() > limit;
        if !too_large {
            collected.extend_from_slice(data);
        }
    }
    Ok((!too_large).then(|| collected.freeze()))
}
