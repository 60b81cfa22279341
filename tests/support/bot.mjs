// A bot that says who it is in a text message, with Node's own WebSocket.
const token = process.env.TOKEN;
const socket = new WebSocket(`wss://${process.argv[2]}/bot`);
socket.onopen = () => socket.send(JSON.stringify({ op: 2, token }));
socket.onmessage = ({ data }) => {
  const { digest, token: mine } = JSON.parse(data);
  console.log(digest, mine === token);
  socket.close(1000, "bye");
};
socket.onclose = ({ code, reason, wasClean }) => console.log(code, reason, wasClean);
