"""The OpenAI Agents SDK with its Chat Completions model."""

from __future__ import annotations

import asyncio
from typing import Any

from loops import Job, Toolbox, report
from openai import AsyncOpenAI
from openai.types.shared import Reasoning

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled

set_tracing_disabled(True)


async def conversation(job: Job, toolbox: Toolbox, stream: bool) -> list[str]:
    client = AsyncOpenAI(base_url=job.base_url, api_key=job.key, max_retries=0)
    effort: Any = job.effort
    agent = Agent(
        name="traveller",
        instructions="Help the traveller.",
        tools=[function_tool(function) for function in toolbox.functions()],
        model=OpenAIChatCompletionsModel(job.model, client),
        model_settings=ModelSettings(reasoning=Reasoning(effort=effort) if effort else None),
    )
    answers: list[str] = []
    history: list[Any] = []
    for question in job.questions:
        history.append({"role": "user", "content": question})
        if stream:
            streaming = Runner.run_streamed(agent, history)
            async for _ in streaming.stream_events():
                pass
            answers.append(streaming.final_output)
            history = streaming.to_input_list()
        else:
            result = await Runner.run(agent, history)
            answers.append(result.final_output)
            history = result.to_input_list()
    return answers


asyncio.run(report(conversation))
