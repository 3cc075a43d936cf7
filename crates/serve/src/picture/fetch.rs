//! Pictures from other hosts: only those that are allowed, only from addresses of the public internet, and from the very
//! address that was looked at, so that a name cannot change in between.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use deem_data::storage::choose_tls_provider;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, header};
use url::{Host, Url};

use super::address::is_public;

/// Redirects that are followed, each checked like the first address.
const REDIRECTS: usize = 3;

/// Time for everything together.
const TIME: Duration = Duration::from_secs(15);

/// Gets pictures from allowed hosts.
#[derive(Debug)]
pub(crate) struct Fetcher {
    allowed: Vec<String>,
    loopback: bool,
}

impl Fetcher {
    /// - `allowed`: hosts, with a port where it is not the usual one
    /// - `loopback`: for tests, lets names lead to this machine
    pub fn new(allowed: &[String], loopback: bool) -> Self {
        let allowed = allowed.iter().map(|host| host.to_ascii_lowercase());
        Self {
            allowed: allowed.collect(),
            loopback,
        }
    }

    /// The bytes behind an address, `most` of them at most.
    ///
    /// # Errors
    /// In words, what is wrong: an address that is no web address or not allowed, an answer that is no success, too
    /// large or too late.
    pub async fn get(&self, address: &str, most: usize) -> Result<Vec<u8>, String> {
        let url = Url::parse(address).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or(
            "expected a picture as `data:image/png;base64,…`, or as http(s) address of an allowed host; a server \
             reads no file",
        )?;
        match tokio::time::timeout(TIME, self.follow(url, most)).await {
            Ok(got) => got,
            Err(_) => Err(format!(
                "the picture did not arrive within {} s",
                TIME.as_secs()
            )),
        }
    }

    async fn follow(&self, mut url: Url, most: usize) -> Result<Vec<u8>, String> {
        for _ in 0..=REDIRECTS {
            let response = self.ask(&url).await?;
            if !response.status().is_redirection() {
                return whole(response, most).await;
            }
            let next = response.headers().get(header::LOCATION);
            let next = next.and_then(|next| next.to_str().ok());
            let next = next.and_then(|next| url.join(next).ok());
            url = next.ok_or("the picture's host redirects to nowhere")?;
        }
        Err(format!(
            "the picture's host redirects more than {REDIRECTS} times"
        ))
    }

    async fn ask(&self, url: &Url) -> Result<Response, String> {
        let addresses = self.checked(url).await?;
        let failed = |_| "the picture's host cannot be reached".to_owned();
        choose_tls_provider();
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .user_agent(concat!("deem/", env!("CARGO_PKG_VERSION")))
            .resolve_to_addrs(url.host_str().unwrap_or_default(), &addresses)
            .build()
            .map_err(failed)?;
        client.get(url.clone()).send().await.map_err(failed)
    }

    /// The addresses behind a name, if it is allowed and all of them are public.
    async fn checked(&self, url: &Url) -> Result<Vec<SocketAddr>, String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err("the picture's host redirects to something that is no web address".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("expected an address without a user's name or password".into());
        }
        let host = url.host_str().unwrap_or_default();
        let named = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        if !self.allowed.contains(&named) {
            return Err(format!(
                "pictures are not fetched from {named} (this server's --allow-fetch names the hosts); send \
                 `data:image/png;base64,…`"
            ));
        }
        let port = url.port_or_known_default().unwrap_or(443);
        let addresses: Vec<SocketAddr> = match url.host() {
            Some(Host::Ipv4(address)) => vec![(address, port).into()],
            Some(Host::Ipv6(address)) => vec![(address, port).into()],
            _ => match tokio::net::lookup_host((host, port)).await {
                Ok(addresses) => addresses.collect(),
                Err(_) => Vec::new(),
            },
        };
        if addresses.is_empty() {
            return Err(format!("{named}: no such host"));
        }
        let reachable =
            |address: IpAddr| is_public(address) || self.loopback && address.is_loopback();
        if !addresses.iter().all(|address| reachable(address.ip())) {
            return Err(format!("{named}: not an address of the public internet"));
        }
        Ok(addresses)
    }
}

/// The body of a successful answer.
async fn whole(mut response: Response, most: usize) -> Result<Vec<u8>, String> {
    if response.status() != StatusCode::OK {
        return Err(format!(
            "the picture's host answers {}",
            response.status().as_u16()
        ));
    }
    let large = || format!("the picture has more than {most} bytes (this server's --max-body)");
    if response
        .content_length()
        .is_some_and(|length| length > most as u64)
    {
        return Err(large());
    }
    let mut bytes = Vec::new();
    let broken = |_| "the picture's host broke off".to_owned();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > most {
            return Err(large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::response::Redirect;
    use axum::routing::get;

    /// A server on this machine, and its `localhost:PORT`.
    async fn host() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("localhost:{}", listener.local_addr().unwrap().port());
        let app = Router::new()
            .route("/picture", get(|| async { "12345678" }))
            .route("/once", get(|| async { Redirect::temporary("picture") }))
            .route("/round", get(|| async { Redirect::temporary("/round") }))
            .route(
                "/away",
                get(|| async { Redirect::temporary("http://169.254.169.254/") }),
            )
            .route(
                "/file",
                get(|| async { Redirect::temporary("file:///etc/passwd") }),
            );
        tokio::spawn(async move { axum::serve(listener, app).await });
        host
    }

    #[tokio::test]
    async fn allowed_hosts_are_asked_and_redirects_checked() {
        let host = host().await;
        // Even where the cloud's own address is allowed by name, it is not public.
        let fetcher = Fetcher::new(&[host.clone(), "169.254.169.254".into()], true);
        let get =
            async |path: &str, most| fetcher.get(&format!("http://{host}/{path}"), most).await;
        assert_eq!(get("picture", 8).await.unwrap(), b"12345678");
        assert_eq!(get("once", 8).await.unwrap(), b"12345678");
        for (path, most, part) in [
            ("picture", 7, "--max-body"),
            ("round", 8, "more than 3"),
            ("away", 8, "not an address of the public internet"),
            ("file", 8, "no web address"),
            ("missing", 8, "404"),
        ] {
            let error = get(path, most).await.unwrap_err();
            assert!(error.contains(part), "{path}: {error}");
        }
    }

    #[tokio::test]
    async fn this_machine_is_not_public() {
        let host = host().await;
        let fetcher = Fetcher::new(std::slice::from_ref(&host), false);
        let error = fetcher.get(&format!("http://{host}/picture"), 8).await;
        assert!(error.unwrap_err().contains("public internet"));
        for (allowed, url) in [
            ("127.0.0.1", "http://127.0.0.1/"),
            ("127.0.0.1", "http://2130706433/"),
            ("[::1]", "http://[::1]/"),
            ("[::ffff:7f00:1]", "http://[::ffff:127.0.0.1]/"),
        ] {
            let error = Fetcher::new(&[allowed.into()], false).get(url, 8).await;
            assert!(error.unwrap_err().contains("public internet"), "{url}");
        }
    }

    #[tokio::test]
    async fn other_hosts_and_ports_are_not_asked() {
        let fetcher = Fetcher::new(&["example.org".into()], false);
        for url in [
            "http://example.com/",
            "http://example.org:8080/",
            "http://example.org.evil.com/",
            "http://sub.example.org/",
        ] {
            let error = fetcher.get(url, 8).await.unwrap_err();
            assert!(error.contains("--allow-fetch"), "{url}: {error}");
        }
        let error = fetcher.get("http://a:b@example.org/", 8).await.unwrap_err();
        assert!(error.contains("password"), "{error}");
    }
}
