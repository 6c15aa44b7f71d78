// Drives the official Node SDK: a JSON job on stdin, what every scenario saw as JSON on stdout.

import OpenAI from 'openai';
import { text as readAll } from 'node:stream/consumers';

const MODEL = 'gemini-2.0-flash-exp';
const TOOL = {
  type: 'function',
  function: {
    name: 'get_weather',
    parameters: { type: 'object', properties: { location: { type: 'string' } }, required: ['location'] },
  },
};
const BOOK = {
  type: 'json_schema',
  json_schema: {
    name: 'book',
    strict: true,
    schema: {
      type: 'object',
      properties: { title: { type: 'string' }, year: { type: 'integer' } },
      required: ['title', 'year'],
      additionalProperties: false,
    },
  },
};

const job = JSON.parse(await readAll(process.stdin));
const client = new OpenAI({ baseURL: job.base_url, apiKey: job.key, maxRetries: 0, timeout: 20_000 });

const user = (content) => [{ role: 'user', content }];
const ask = (content, fields = {}) =>
  client.chat.completions.create({
    model: MODEL,
    messages: Array.isArray(content) ? content : user(content),
    ...fields,
  });

const whole = (response) => ({
  id: response.id,
  object: response.object,
  model: response.model,
  role: response.choices[0].message.role,
  content: response.choices[0].message.content,
  finish: response.choices[0].finish_reason,
  usage: response.usage,
  request_id: response._request_id,
});

const chunks = async (content, fields = {}) => {
  const seen = [];
  for await (const chunk of await ask(content, { stream: true, ...fields })) seen.push(chunk);
  return seen;
};

const joined = (seen) => seen.map((chunk) => chunk.choices[0]?.delta?.content || '').join('');

const scenarios = {
  async text() {
    return whole(await ask('Hello'));
  },
  async stream() {
    const seen = await chunks('Hello');
    return {
      content: joined(seen),
      roles: seen.map((chunk) => chunk.choices[0].delta.role).filter(Boolean),
      finish: seen.map((chunk) => chunk.choices[0].finish_reason),
      usage: seen.filter((chunk) => chunk.usage).length,
    };
  },
  async stream_usage() {
    const seen = await chunks('Hello', { stream_options: { include_usage: true } });
    return {
      usages: seen.filter((chunk) => chunk.usage).map((chunk) => chunk.usage),
      last_has_it: Boolean(seen.at(-1).usage),
    };
  },
  async tools() {
    const history = user('What is the weather in Beijing?');
    const first = await ask(history, { tools: [TOOL] });
    const { message, finish_reason: finish } = first.choices[0];
    const [call] = message.tool_calls;
    history.push(message, { role: 'tool', tool_call_id: call.id, content: '{"temp":3}' });
    const second = await ask(history, { tools: [TOOL] });
    return {
      finish,
      name: call.function.name,
      arguments: JSON.parse(call.function.arguments),
      answer: second.choices[0].message.content,
    };
  },
  async parallel() {
    const history = user('Compare two cities');
    const { message } = (await ask(history, { tools: [TOOL] })).choices[0];
    history.push(message);
    message.tool_calls.forEach((call, number) =>
      history.push({ role: 'tool', tool_call_id: call.id, content: `result ${number}` }),
    );
    return {
      ids: new Set(message.tool_calls.map((call) => call.id)).size,
      cities: message.tool_calls.map((call) => JSON.parse(call.function.arguments).location),
      answer: (await ask(history, { tools: [TOOL] })).choices[0].message.content,
    };
  },
  async helper() {
    const stream = client.chat.completions.stream({ model: MODEL, messages: user('Hello') });
    let content = '';
    stream.on('content', (delta) => (content += delta));
    const final = await stream.finalChatCompletion();
    return { content, whole: final.choices[0].message.content, finish: final.choices[0].finish_reason };
  },
  async helper_tools() {
    const stream = client.chat.completions.stream({ model: MODEL, messages: user('Compare two cities'), tools: [TOOL] });
    const { message, finish_reason: finish } = (await stream.finalChatCompletion()).choices[0];
    return {
      finish,
      names: message.tool_calls.map((call) => call.function.name),
      cities: message.tool_calls.map((call) => JSON.parse(call.function.arguments).location),
    };
  },
  async run_tools() {
    const runner = client.chat.completions.runTools({
      model: MODEL,
      messages: user('What is the weather in Beijing?'),
      stream: true,
      tools: [
        {
          type: 'function',
          function: { ...TOOL.function, parse: JSON.parse, function: ({ location }) => `3 degrees in ${location}` },
        },
      ],
    });
    return { answer: await runner.finalContent() };
  },
  async parse() {
    const response_format = { ...BOOK };
    const made = await client.chat.completions.parse({ model: MODEL, messages: user('A book as JSON'), response_format });
    return JSON.parse(made.choices[0].message.content);
  },
  async reasoning() {
    const { message } = (await ask('think')).choices[0];
    const seen = await chunks('think');
    return {
      content: message.content,
      reasoning: message.reasoning_content,
      streamed: seen.map((chunk) => chunk.choices[0].delta.reasoning_content || '').join(''),
      streamed_content: joined(seen),
    };
  },
  async image_in() {
    const made = {};
    for (const [form, url] of Object.entries(job.images)) {
      const content = [
        { type: 'text', text: 'What is in this?' },
        { type: 'image_url', image_url: { url } },
      ];
      made[form] = (await ask(user(content))).choices[0].message.content;
    }
    return made;
  },
  async image_out() {
    return whole(await ask('Draw a cute cat', { model: 'gemimi-3.0-pro-image' }));
  },
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return { ids, one: (await client.models.retrieve(MODEL)).id };
  },
  async stream_error() {
    let content = '';
    try {
      for await (const chunk of await ask('Please break off', { stream: true }))
        content += chunk.choices[0]?.delta?.content || '';
    } catch (raised) {
      return { content, raised: raised.constructor.name, message: raised.message, code: raised.code };
    }
    return { content, raised: null };
  },
  async helper_error() {
    const stream = client.chat.completions.stream({ model: MODEL, messages: user('die') });
    return whole(await stream.finalChatCompletion());
  },
  bad_key: () => new OpenAI({ baseURL: job.base_url, apiKey: 'sk-wrong', maxRetries: 0 }).models.list(),
  bad_request: () => ask('Hello', { temperature: 'warm' }),
  no_model: () => ask('Hello', { model: 'no-such-model' }),
  limited: () => ask('too often', { stream: true }),
  failing: () => ask('internal'),
};

const made = {};
for (const [name, scenario] of Object.entries(scenarios)) {
  try {
    made[name] = await scenario();
  } catch (raised) {
    made[name] = {
      raised: raised.constructor.name,
      status: raised.status,
      code: raised.code,
      message: raised.message,
      error: raised.error,
      headers: Object.fromEntries(raised.headers ?? []),
    };
  }
}
process.stdout.write(JSON.stringify(made));
