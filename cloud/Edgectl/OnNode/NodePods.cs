using System.Buffers;
using System.Net.WebSockets;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.OnNode;

/// <summary>Logs of containers and commands in them, by the node's local API.</summary>
internal static class NodePods
{
    // The channels of Kubernetes' remotecommand over WebSocket, version 4: the first byte of each message.
    private const byte Output = 1;
    private const byte Error = 2;
    private const byte Status = 3;

    public static async Task<int> LogsAsync(HttpClient http, string space, string pod, string? container, string query, Stream output, CancellationToken cancellationToken)
    {
        container ??= await FirstContainerAsync(http, space, pod, cancellationToken);
        var target = $"/containerLogs/{Uri.EscapeDataString(space)}/{Uri.EscapeDataString(pod)}/{Uri.EscapeDataString(container)}{(query.Length > 0 ? "?" + query : "")}";
        using var response = await http.GetAsync(target, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        if (!response.IsSuccessStatusCode)
            throw new NodeException((await response.Content.ReadAsStringAsync(cancellationToken)).Trim());
        await response.Content.CopyToAsync(output, cancellationToken);
        await output.FlushAsync(cancellationToken);
        return 0;
    }

    /// <summary>Runs the command; its exit code.</summary>
    public static async Task<int> ExecAsync(
        NodeAccess node, HttpClient http, string space, string pod, string? container, IEnumerable<string> command, Stream output, Stream errors, CancellationToken cancellationToken)
    {
        container ??= await FirstContainerAsync(http, space, pod, cancellationToken);
        var query = string.Join('&', command.Select(word => $"command={Uri.EscapeDataString(word)}").Concat(["output=1", "error=1"]));
        using var socket = new ClientWebSocket();
        socket.Options.AddSubProtocol("v4.channel.k8s.io");
        socket.Options.SetRequestHeader("Authorization", $"Bearer {node.Token}");
        var url = new Uri($"ws://127.0.0.1:{node.LocalApiPort}/exec/{Uri.EscapeDataString(space)}/{Uri.EscapeDataString(pod)}/{Uri.EscapeDataString(container)}?{query}");
        try
        {
            await socket.ConnectAsync(url, cancellationToken);
        }
        catch (WebSocketException e)
        {
            throw new NodeException($"pod {space}/{pod}, container {container}: {e.Message}; is it running? ('edgectl get pods')");
        }

        var message = new ArrayBufferWriter<byte>();
        while (true)
        {
            var read = await socket.ReceiveAsync(message.GetMemory(16 * 1024), cancellationToken);
            if (read.MessageType == WebSocketMessageType.Close)
                throw new NodeException("the connection ended before the command did");
            message.Advance(read.Count);
            if (!read.EndOfMessage && message.WrittenCount < 16 << 20)
                continue;
            var (channel, payload) = message.WrittenCount == 0 ? ((byte)0, default) : (message.WrittenSpan[0], message.WrittenMemory[1..]);
            if (channel == Output)
                await output.WriteAsync(payload, cancellationToken);
            else if (channel == Error)
                await errors.WriteAsync(payload, cancellationToken);
            else if (channel == Status)
                return ExitCode(payload) is var (code, text) && text.Length > 0 ? throw new NodeException(text) : code;
            message.ResetWrittenCount();
        }
    }

    /// <summary>What the status at the end says: the exit code, or a text where the command could not be run. Pure.</summary>
    internal static (int Code, string Text) ExitCode(ReadOnlyMemory<byte> status)
    {
        JsonNode? json;
        try
        {
            json = JsonNode.Parse(status.Span);
        }
        catch (System.Text.Json.JsonException)
        {
            return (1, "the command's end cannot be read");
        }

        if (json.Text("status") == "Success")
            return (0, "");
        var code = json.Items("details", "causes").FirstOrDefault(cause => cause.Text("reason") == "ExitCode").Text("message");
        return json.Text("reason") == "NonZeroExitCode" && int.TryParse(code, out var number) ? (number, "") : (1, json.Text("message") is { Length: > 0 } said ? said : "the command failed");
    }

    private static async Task<string> FirstContainerAsync(HttpClient http, string space, string pod, CancellationToken cancellationToken)
    {
        using var response = await http.GetAsync("/pods", cancellationToken);
        var text = await response.Content.ReadAsStringAsync(cancellationToken);
        if (!response.IsSuccessStatusCode)
            throw new NodeException(text.Trim());
        var found = JsonNode.Parse(text).Items("items").FirstOrDefault(one => one.Namespace() == space && one.Name() == pod)
            ?? throw new NodeException($"pod {space}/{pod} is not on this node");
        return found.Items("spec", "containers").First().Text("name");
    }
}
