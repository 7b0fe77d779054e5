// Tells each client that speaks what it said, at the address that it makes of its event.
exports.handler = async ({ requestContext, body }) => {
  const { routeKey, connectionId, domainName, stage } = requestContext;
  if (routeKey === '$default') {
    const url = `https://${domainName}/${stage}/@connections/${encodeURIComponent(connectionId)}`;
    const sent = await fetch(url, { method: 'POST', body: `${process.env.TOOL}: ${body}` });
    if (sent.status !== 200) throw new Error(`answered ${sent.status}`);
  }
  return { statusCode: 200 };
};
