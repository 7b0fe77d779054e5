//! The AWS account that a command talks to, or the gateway of this machine in its place.

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use tidings_local_services::net::{http_client, is_aws};

use super::identity::Identity;

/// Where to find AWS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account<'a> {
    /// Another address than the service's usual one.
    endpoint: Option<&'a str>,
    /// The region; the configuration's where it is not given.
    region: Option<&'a str>,
    /// The profile; the configuration's default where it is not given.
    profile: Option<&'a str>,
}

impl Identity {
    /// That account, at another address than the services' usual one where there is one.
    pub(super) fn at<'a>(&'a self, endpoint: Option<&'a str>) -> Account<'a> {
        Account { endpoint, region: self.region.as_deref(), profile: self.profile.as_deref() }
    }
}

impl Account<'_> {
    /// The configuration of clients: with the ordinary credential chain for AWS, with keys that open nothing elsewhere.
    pub(super) async fn config(&self) -> SdkConfig {
        let region = self.region.map(|region| Region::new(region.to_owned()));
        if let Some(endpoint) = self.endpoint.filter(|endpoint| !is_aws(endpoint)) {
            let keys = Credentials::new("local", "local", None, None, "tidings");
            return SdkConfig::builder()
                .behavior_version(BehaviorVersion::v2026_01_12())
                .region(region.unwrap_or_else(|| Region::new("us-east-1")))
                .endpoint_url(endpoint)
                .credentials_provider(SharedCredentialsProvider::new(keys))
                .retry_config(RetryConfig::disabled())
                .http_client(http_client(Some(endpoint)))
                .build();
        }
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http_client(self.endpoint));
        if let Some(region) = region {
            loader = loader.region(region);
        }
        if let Some(profile) = self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        loader.load().await
    }
}
