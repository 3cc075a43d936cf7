//! Connections: as many as may be, none of them for ever, and an end in order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::{Peer, router};
use crate::app::App;
use crate::{Metrics, Options, ServeError, Served};

/// How long nothing is accepted after the system could not, as when too many files are open.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves models until `shutdown` comes; then waits for requests that are being answered, as long as the options
/// allow.
///
/// - `models`: the default first
/// - `listening`: is told where, as soon as connections are accepted
///
/// # Errors
/// What [`Options::check`] says, `Keys` if these cannot be read, `Listen` if the address is taken.
pub async fn serve(
    options: Options,
    models: Vec<Served>,
    metrics: Metrics,
    listening: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let app = Arc::new(App::new(options, models, metrics)?);
    let address = SocketAddr::new(app.options.host, app.options.port);
    let listener = TcpListener::bind(address).await;
    let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(|cause| ServeError::Listen { address, cause })?;
    listening(address);

    let router = router(app.clone());
    let places = Arc::new(Semaphore::new(app.options.connections));
    let (end, ending) = watch::channel(());
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (accepted, place) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let (router, ending) = (router.clone(), ending.clone());
                    let patience = app.options.patience;
                    connections.spawn(async move {
                        let _place = place;
                        converse(stream, peer, router, patience, ending).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
    app.closing.store(true, Ordering::Relaxed);
    drop(listener);
    drop(ending);
    let _ = end.send(()); // an error means that nobody is there
    let rest = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(app.options.grace, rest).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "cut off, after the time to end had passed"
        );
        connections.shutdown().await;
    }
    Ok(())
}

/// Serves a connection until the client leaves, or the server ends.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    patience: Duration,
    mut ending: watch::Receiver<()>,
) {
    let _ = stream.set_nodelay(true); // slower without, no more
    let service =
        ServiceExt::<Request>::map_request(router, move |request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            request
        });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        _ = ending.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}
