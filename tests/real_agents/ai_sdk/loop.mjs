// The AI SDK's tool loop: generateText and streamText over several steps. The job comes on stdin, what happened goes to stdout.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { readFileSync } from "node:fs";
import { z } from "zod";

const job = JSON.parse(readFileSync(0, "utf8"));
const provider = createOpenAICompatible({ name: "gateway", baseURL: job.base_url, apiKey: job.key, includeUsage: true });

function toolbox(calls) {
  const define = (name, description, shape, answer) =>
    tool({
      description,
      inputSchema: z.object(shape),
      execute: async (args) => {
        calls.push([name, args]);
        return answer(args);
      },
    });
  const place = { location: z.string() };
  return {
    get_weather: define("get_weather", "Weather of a place", place, ({ location }) => `18 C in ${location}`),
    get_time: define("get_time", "Local time of a place", place, ({ location }) => ({ time: "12:00", location })),
    add: define("add", "Add two numbers", { a: z.number(), b: z.number() }, ({ a, b }) => `${a + b}`),
  };
}

async function ask(options, stream) {
  if (!stream) {
    const made = await generateText(options);
    return { text: made.text, messages: made.response.messages };
  }
  const made = streamText({ ...options, onError: ({ error }) => { throw error; } });
  let text = "";
  for await (const part of made.fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "start-step") text = "";
    if (part.type === "text-delta") text += part.text;
  }
  return { text, messages: (await made.response).messages };
}

async function conversation(stream) {
  const calls = [];
  const answers = [];
  const messages = [];
  const options = {
    model: provider(job.model),
    tools: toolbox(calls),
    stopWhen: stepCountIs(8),
    maxRetries: 0,
    providerOptions: job.effort ? { gateway: { reasoningEffort: job.effort } } : {},
  };
  for (const content of job.questions) {
    messages.push({ role: "user", content });
    const made = await ask({ ...options, messages }, stream);
    answers.push(made.text);
    messages.push(...made.messages);
  }
  return { answers, calls };
}

console.log(JSON.stringify({ whole: await conversation(false), streamed: await conversation(true) }));
