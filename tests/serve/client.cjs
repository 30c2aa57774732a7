// What the npm client makes of a server: prints one JSON object. Arguments: address, data URL of a picture.
const OpenAI = require("openai");

async function main([url, picture]) {
  const client = new OpenAI({baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0});
  const content = [{type: "image_url", image_url: {url: picture}}, {type: "text", text: "Describe the image."}];
  const asked = {model: "scenes", messages: [{role: "user", content}], max_tokens: 12, logprobs: true, lvlm_saliency: {risk: true}};
  const whole = await client.chat.completions.create(asked);
  let streamed = "";
  for await (const chunk of await client.chat.completions.create({...asked, stream: true})) {
    streamed += chunk.choices[0]?.delta.content ?? "";
  }
  const refused = await client.chat.completions.create({...asked, temperature: 9}).catch((error) => [error.status, error.param]);
  const models = (await client.models.list()).data.map(({id}) => id);
  const notes = whole.choices[0].logprobs.content.every((entry) => "risk" in entry.lvlm_saliency);
  console.log(JSON.stringify({whole: whole.choices[0].message.content, streamed, refused, models, notes}));
}

main(process.argv.slice(2));
