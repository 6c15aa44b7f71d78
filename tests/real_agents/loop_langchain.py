"""LangChain's agent over its OpenAI model."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from loops import Job, Toolbox, report


async def conversation(job: Job, toolbox: Toolbox, stream: bool) -> list[str]:
    more: dict[str, Any] = {"reasoning_effort": job.effort} if job.effort else {}
    model = ChatOpenAI(model=job.model, base_url=job.base_url, api_key=job.key, streaming=stream, max_retries=0, **more)
    agent = create_agent(model, [tool(function) for function in toolbox.functions()])
    answers: list[str] = []
    state: dict[str, Any] = {"messages": []}
    for question in job.questions:
        state["messages"] = [*state["messages"], ("user", question)]
        state = await agent.ainvoke(state)
        answers.append(state["messages"][-1].content)
    return answers


asyncio.run(report(conversation))
