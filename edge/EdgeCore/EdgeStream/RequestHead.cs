using System.Text;

namespace Edge.Core.EdgeStream;

/// <summary>The head of the one HTTP request that comes over a stream, as far as it is looked at before the local API gets it. Pure.</summary>
internal static class RequestHead
{
    /// <summary>An exec carries its command in the query.</summary>
    public const int SizeMax = 64 * 1024;

    // What kubectl needs of a kubelet, and no more: the cloud reads no configuration and no other pods here.
    private static readonly string[] s_served = ["/containerLogs/", "/exec/", "/attach/", "/portForward/", "/stats/summary?"];

    /// <summary>Reads a whole head from the start of <paramref name="bytes"/>.</summary>
    /// <returns>Its length; 0 while it is not whole; -1 with the reason when it is none that is served.</returns>
    public static int Read(ReadOnlySpan<byte> bytes, out string problem)
    {
        problem = "";
        var end = bytes.IndexOf("\r\n\r\n"u8);
        if (end < 0)
        {
            if (bytes.Length < SizeMax)
                return 0;
            problem = $"the request's head is over {SizeMax} bytes";
            return -1;
        }

        var line = bytes[..bytes.IndexOf("\r\n"u8)];
        var parts = Encoding.ASCII.GetString(line).Split(' ');
        if (parts is not ["GET" or "POST", var target, "HTTP/1.1"])
            problem = "the first line is not 'GET|POST <target> HTTP/1.1'";
        else if (!s_served.Any(prefix => target.StartsWith(prefix, StringComparison.Ordinal)) || target.Contains("..", StringComparison.Ordinal))
            problem = $"over a stream only {string.Join(", ", s_served)} are served";
        return problem.Length > 0 ? -1 : end + 4;
    }

    /// <summary>The head with the node's own credential in place of what the cloud may have sent.</summary>
    public static byte[] WithToken(ReadOnlySpan<byte> head, string token)
    {
        var lines = Encoding.Latin1.GetString(head).Split("\r\n").Where(line => !line.StartsWith("Authorization:", StringComparison.OrdinalIgnoreCase)).ToList();
        lines.Insert(1, $"Authorization: Bearer {token}");
        return Encoding.Latin1.GetBytes(string.Join("\r\n", lines));
    }

    /// <summary>An answer in the local API's place.</summary>
    public static byte[] Answer(int code, string reason)
    {
        var body = Encoding.UTF8.GetBytes(reason + "\n");
        return [.. Encoding.ASCII.GetBytes($"HTTP/1.1 {code} {(code == 403 ? "Forbidden" : "Service Unavailable")}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {body.Length}\r\n\r\n"), .. body];
    }
}
