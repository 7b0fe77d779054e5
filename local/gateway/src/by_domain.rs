//! What a custom domain says about a request, for the API that it is given to.

/// Where a custom domain has led a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ByDomain {
    /// To a stage of an API.
    To {
        api_id: String,
        stage: String,
        /// The path behind that of the mapping, as the client sent it; it begins with a slash.
        rest: String,
    },
    /// Nowhere.
    Nowhere,
}
