// $connect as a function in Node.js does it: one item for the connection, through the SDK's document client.
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, PutCommand } from '@aws-sdk/lib-dynamodb';

const table = DynamoDBDocumentClient.from(new DynamoDBClient({}));

export const handler = async (event) => {
  const { connectionId } = event.requestContext;
  await table.send(new PutCommand({ TableName: process.env.TABLE_NAME, Item: { connectionId } }));
  return { statusCode: 200, body: 'Connected.' };
};
