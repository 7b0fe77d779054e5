//! Custom domains of APIs.

/// A custom domain, and the stages that its paths lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// In lower case, for example `api.example.com`.
    pub name: String,
    /// At most one for each path.
    pub mappings: Vec<ApiMapping>,
}

/// An API mapping: what a path of a custom domain leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiMapping {
    /// `ApiMappingKey`, for example `orders/v1`; empty for every path that no other mapping takes.
    pub path: String,
    /// The id of its API.
    pub api_id: String,
    /// The name of a stage of that API.
    pub stage: String,
}
