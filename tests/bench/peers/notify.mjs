// A message to every connection as a function in Node.js does it: read the table, post to all with `Promise.all`, forget
// connections that are gone.
import { ApiGatewayManagementApiClient, PostToConnectionCommand } from '@aws-sdk/client-apigatewaymanagementapi';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DeleteCommand, DynamoDBDocumentClient, paginateScan } from '@aws-sdk/lib-dynamodb';

const TableName = process.env.TABLE_NAME;
const table = DynamoDBDocumentClient.from(new DynamoDBClient({}));
const api = new ApiGatewayManagementApiClient({ endpoint: process.env.WEBSOCKET_ENDPOINT });

export const handler = async (event) => {
  const Data = JSON.stringify({ type: 'message', data: event.data });
  let delivered = 0;
  for await (const page of paginateScan({ client: table }, { TableName, ProjectionExpression: 'connectionId' })) {
    await Promise.all(page.Items.map(async ({ connectionId }) => {
      try {
        await api.send(new PostToConnectionCommand({ ConnectionId: connectionId, Data }));
        delivered += 1;
      } catch (error) {
        if (error.name !== 'GoneException') throw error;
        await table.send(new DeleteCommand({ TableName, Key: { connectionId } }));
      }
    }));
  }
  return { delivered };
};
