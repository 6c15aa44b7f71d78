"""pydantic-ai's agent."""

from __future__ import annotations

import asyncio
from typing import Any

from loops import Job, Toolbox, report
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


async def conversation(job: Job, toolbox: Toolbox, stream: bool) -> list[str]:
    model = OpenAIChatModel(job.model, provider=OpenAIProvider(base_url=job.base_url, api_key=job.key))
    settings: Any = {"openai_reasoning_effort": job.effort} if job.effort else {}
    agent = Agent(model, model_settings=settings, tools=toolbox.functions())
    answers: list[str] = []
    history: list[ModelMessage] = []
    for question in job.questions:
        if stream:
            async with agent.run_stream(question, message_history=history) as result:
                answers.append("".join([piece async for piece in result.stream_text(delta=True, debounce_by=None)]))
                history = result.all_messages()
        else:
            made = await agent.run(question, message_history=history)
            answers.append(made.output)
            history = made.all_messages()
    return answers


asyncio.run(report(conversation))
