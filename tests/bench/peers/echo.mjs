// Lets everyone in and sends each message back, as the bare function in Rust does.
export const handler = async (event) => ({ statusCode: 200, body: event.body });
