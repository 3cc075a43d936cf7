"""Uses a server through the published `openai` package: chat, streams, pictures in and out, log-probabilities, errors.

    client.py URL               a server without keys
    client.py URL --key KEY     a server with that key and `--rate 6`: only what keys and rates change
"""

import argparse
import base64
import io
import math
import urllib.error
import urllib.request

import openai
from PIL import Image


def picture(colour, size=(96, 64)):
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def about(url, text, **region):
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url, "detail": "low"}, **region}]
    return [{"role": "user", "content": parts}]


def refused(kind, param, ask):
    try:
        ask()
    except kind as error:
        assert error.param == param, (error.param, param)
        assert error.body["message"], error
        return error
    raise AssertionError(f"{kind.__name__} of {param} did not come")


def chat(client, model):
    hello = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}]
    answer = client.chat.completions.create(model=model, messages=hello, max_tokens=8)
    again = client.chat.completions.create(model=model, messages=hello, max_completion_tokens=8, temperature=0)
    said = answer.choices[0].message.content
    assert said == again.choices[0].message.content, "greedy answers differ"
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert 0 < answer.usage.completion_tokens <= 9, answer.usage

    chunks = list(client.chat.completions.create(
        model=model, messages=hello, max_tokens=8, stream=True, stream_options={"include_usage": True}))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed.strip() == said, (streamed, said)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == [] and chunks[-1].usage.prompt_tokens == answer.usage.prompt_tokens
    assert chunks[-2].choices[0].finish_reason == answer.choices[0].finish_reason

    drawn = dict(model=model, messages=hello, max_tokens=8, temperature=1.5, top_p=0.95, seed=4, n=3)
    first, second = (client.chat.completions.create(**drawn) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert len(texts) == 3 and texts == [choice.message.content for choice in second.choices]


def probabilities(client, model):
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Say hello."}], max_tokens=6, logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs.content
    assert tokens, "no tokens were told"
    for token in tokens:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3, token
        assert abs(max(top.logprob for top in token.top_logprobs) - token.logprob) < 1e-4, "greedy is not the best"
    text = client.completions.create(model=model, prompt=["A photo", "A big"], max_tokens=3, logprobs=2)
    assert [choice.index for choice in text.choices] == [0, 1]
    assert len(text.choices[1].logprobs.tokens) == len(text.choices[1].logprobs.token_logprobs) > 0
    assert text.choices[1].logprobs.text_offset[0] == len("A big")


def pictures(client, model, size):
    red = picture("red")
    for region in ({}, {"box": [8, 8, 40, 40]}, {"polygon": [[8, 8], [60, 8], [8, 60]]}, {"mask": picture("white")}):
        answer = client.chat.completions.create(model=model, messages=about(red, "What is it?", **region), max_tokens=8)
        assert isinstance(answer.choices[0].message.content, str)
    two = about(red, "Which is first?")
    two[0]["content"].append({"type": "image_url", "image_url": {"url": picture("blue")}})
    client.chat.completions.create(model=model, messages=two, max_tokens=8)
    adapted = client.chat.completions.create(
        model=model, messages=about(red, "What is it?"), max_tokens=8, extra_body={"adapt": 1})
    assert adapted.usage.prompt_tokens > 0

    drawn = client.images.generate(
        model=model, prompt="a red square", n=2, size="auto", response_format="b64_json",
        extra_body={"steps": 2, "seed": 3})
    for one in drawn.data:
        read = Image.open(io.BytesIO(base64.b64decode(one.b64_json)))
        assert read.size == (size, size), read.size
    restored = client.post("/restore", cast_to=object, body={"image": red, "steps": 2, "strength": 0.5})
    read = Image.open(io.BytesIO(base64.b64decode(restored["data"][0]["b64_json"])))
    assert read.size == (size, size), read.size
    scored = client.post(
        "/score", cast_to=object, body={"messages": about(red, "Is it red?"), "answers": ["yes", "no"]})
    assert math.isclose(sum(score["probability"] for score in scored["scores"]), 1)


def errors(client, model):
    hello = [{"role": "user", "content": "Hello"}]
    ask = lambda **more: client.chat.completions.create(**{"model": model, "messages": hello, **more})
    refused(openai.NotFoundError, "model", lambda: ask(model="nobody"))
    refused(openai.BadRequestError, "temperature", lambda: ask(temperature=3))
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    refused(openai.BadRequestError, "tools", lambda: ask(tools=[tool]))
    refused(openai.BadRequestError, "response_format", lambda: ask(response_format={"type": "json_object"}))
    refused(openai.BadRequestError, "messages[0].content[1]", lambda: ask(messages=about("file:///etc/passwd", "?")))
    refused(openai.BadRequestError, "messages[0].content[1]", lambda: ask(messages=about("http://127.0.0.1/a", "?")))
    long = [{"role": "user", "content": "word " * 20000}]
    error = refused(openai.BadRequestError, "messages", lambda: ask(messages=long, max_tokens=8))
    assert error.code == "context_length_exceeded", error.code
    refused(openai.BadRequestError, "messages", lambda: list(ask(messages=long, max_tokens=8, stream=True)))
    ask(user="somebody", metadata={"a": "b"}, store=False, parallel_tool_calls=True, service_tier="auto", max_tokens=1)


def keys(url, key):
    for wrong in ("other", "secret2"):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key=wrong, max_retries=0)
        refused(openai.AuthenticationError, None, client.models.list)
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    for _ in range(6):
        client.models.list()
    limited = refused(openai.RateLimitError, None, client.models.list)
    assert int(limited.response.headers["retry-after"]) > 0
    try:
        urllib.request.urlopen(f"{url}/metrics")
        raise AssertionError("metrics without a key")
    except urllib.error.HTTPError as error:
        assert error.code == 401, error.code


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--key")
    args = parser.parse_args()
    if args.key:
        keys(args.url, args.key)
        print("keys and rates: ok")
        return
    client = openai.OpenAI(base_url=f"{args.url}/v1", api_key="none", max_retries=0)
    model = client.models.list().data[0]
    assert client.models.retrieve(model.id).id == model.id
    for name, tried in (
        ("chat", lambda: chat(client, model.id)),
        ("pictures", lambda: pictures(client, model.id, model.deem["drawing_size"])),
        ("errors", lambda: errors(client, model.id)),
        ("probabilities", lambda: probabilities(client, model.id)),
    ):
        tried()
        print(f"{name}: ok")


if __name__ == "__main__":
    main()
