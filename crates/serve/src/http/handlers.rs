//! From a request to a job, and from what the job tells to the response.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::body::object;
use crate::api::chat::{self, ChatRequest};
use crate::api::completion::{self, CompletionRequest};
use crate::api::heard::{Heard, Told};
use crate::api::image::{self, DrawRequest, RestoreRequest};
use crate::api::score::{self, ScoreRequest};
use crate::api::stream::{self, ChatChunks, TextChunks};
use crate::api::{Head, models as listed};
use crate::app::{App, Served};
use crate::error::ApiError;
use crate::observe::Record;
use crate::{AnswerJob, Job, ReadJob, RestoreJob, ScoreJob};

type Shared = State<Arc<App>>;
type Recorded = Extension<Arc<Record>>;

pub(super) async fn models(State(app): Shared) -> Json<Value> {
    Json(listed::list(app.models.iter(), app.created))
}

pub(super) async fn model(
    State(app): Shared,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(listed::one(app.model(Some(&id))?, app.created)))
}

pub(super) async fn chat(
    State(app): Shared,
    Extension(record): Recorded,
    request: Request,
) -> Result<Response, ApiError> {
    let body = object(request, &app.options).await?;
    let mut request = ChatRequest::of(&body, &app.options)?;
    drop(body); // pictures are large, and answers take long
    let served = app.model(request.model.as_deref())?;
    let pictures = app
        .pictures
        .all(std::mem::take(&mut request.draft.sources))
        .await?;
    let (n, logprobs) = (request.choice.n, request.choice.options.top.is_some());
    let job = AnswerJob {
        dialogue: request.draft.with(&pictures)?,
        choice: request.choice,
        adapt: request.adapt,
        drawing: request.drawing,
    };
    drop(pictures);
    let heard = submit(served, [Job::Answer(job)])?;
    let head = Head::new("chatcmpl", &served.id);
    if request.stream {
        let chunks = ChatChunks::new(head, n, request.include_usage, logprobs);
        return stream::respond(heard, chunks, record).await;
    }
    let told = all(heard, 1, n, &record).await?;
    json(chat::response(&head, &told, logprobs)?)
}

pub(super) async fn completion(
    State(app): Shared,
    Extension(record): Recorded,
    request: Request,
) -> Result<Response, ApiError> {
    let body = object(request, &app.options).await?;
    let request = CompletionRequest::of(&body, &app.options)?;
    let served = app.model(request.model.as_deref())?;
    let n = request.choice.n;
    let lengths = request.prompts.iter().map(|prompt| prompt.chars().count());
    let lengths: Option<Vec<usize>> = request.choice.options.top.map(|_| lengths.collect());
    let count = request.prompts.len();
    let jobs = request.prompts.into_iter().map(|text| {
        let choice = request.choice.clone();
        Job::Read(ReadJob { text, choice })
    });
    let heard = submit(served, jobs)?;
    let head = Head::new("cmpl", &served.id);
    if request.stream {
        let chunks = TextChunks::new(head, n, request.include_usage, lengths.as_deref());
        return stream::respond(heard, chunks, record).await;
    }
    let told = all(heard, count, n, &record).await?;
    json(completion::response(&head, &told, n, lengths.as_deref()))
}

pub(super) async fn draw(
    State(app): Shared,
    Extension(record): Recorded,
    request: Request,
) -> Result<Response, ApiError> {
    let body = object(request, &app.options).await?;
    let request = DrawRequest::of(&body, &app.options)?;
    let served = app.model(request.model.as_deref())?;
    request.check_size(served.drawing_size)?;
    let n = request.job.n;
    let heard = submit(served, [Job::Draw(request.job)])?;
    let told = all(heard, 1, n, &record).await?;
    json(image::response(&told)?)
}

pub(super) async fn restore(
    State(app): Shared,
    Extension(record): Recorded,
    request: Request,
) -> Result<Response, ApiError> {
    let body = object(request, &app.options).await?;
    let request = RestoreRequest::of(&body, &app.options)?;
    drop(body);
    let served = app.model(request.model.as_deref())?;
    let mut pictures = app.pictures.all(vec![request.source]).await?;
    let job = RestoreJob {
        picture: pictures.remove(0),
        strength: request.strength,
        options: request.options,
    };
    let heard = submit(served, [Job::Restore(job)])?;
    let told = all(heard, 1, 1, &record).await?;
    json(image::response(&told)?)
}

pub(super) async fn score(
    State(app): Shared,
    Extension(record): Recorded,
    request: Request,
) -> Result<Response, ApiError> {
    let body = object(request, &app.options).await?;
    let mut request = ScoreRequest::of(&body, &app.options)?;
    drop(body);
    let served = app.model(request.model.as_deref())?;
    let pictures = app
        .pictures
        .all(std::mem::take(&mut request.draft.sources))
        .await?;
    let job = ScoreJob {
        dialogue: request.draft.with(&pictures)?,
        answers: request.answers.clone(),
    };
    let heard = submit(served, [Job::Score(job)])?;
    let told = all(heard, 1, 1, &record).await?;
    json(score::response(
        &Head::new("score", &served.id),
        &request.answers,
        &told,
    ))
}

/// Hands jobs over; if one is not taken, none is done.
fn submit(served: &Served, jobs: impl IntoIterator<Item = Job>) -> Result<Heard, ApiError> {
    let events: Result<Vec<_>, _> = jobs
        .into_iter()
        .map(|job| served.handle.submit(job))
        .collect();
    Ok(Heard::new(events?))
}

async fn all(heard: Heard, jobs: usize, n: usize, record: &Record) -> Result<Told, ApiError> {
    let told = Told::all(heard, jobs, n).await?;
    record.used(told.usage);
    Ok(told)
}

fn json(value: Value) -> Result<Response, ApiError> {
    Ok(Json(value).into_response())
}
