// The suite's function behind serverless-offline, which runs no Rust: each event goes to the one function that all gateways have,
// over the Invoke API of `tidings dev`, and its answer or its failure comes back.
export const handler = async (event) => {
  const url = `${process.env.LAMBDA}/2015-03-31/functions/Obedient/invocations`;
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(event) });
  const result = await answer.json();
  if (!answer.headers.has('x-amz-function-error')) return result;
  // As AWS's sample of an authorizer fails, with a text and not with an error.
  if (result.errorMessage === 'Unauthorized') throw 'Unauthorized';
  throw Object.assign(new Error(result.errorMessage), { name: result.errorType });
};
