using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Edge.Devices.Push;

/// <summary>Redis (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec/), as KubeEdge's mappers fill it: a device's samples are a sorted set under the device's name,
/// scored by milliseconds, each <c>{"DeviceName","PropertyName","Namespace","Value","Type","TimeStamp"}</c>. A batch that is repeated adds nothing twice.</summary>
/// <param name="database">Number of the database.</param>
/// <param name="password">Empty for none. Never logged.</param>
internal sealed class RedisTarget(string host, int port, int database, string password, TimeSpan timeout, TimeProvider time)
    : TcpTarget($"redis {host}:{port}/{database}", host, port, timeout, time)
{
    // An answer here is a number or a line of text.
    private const int LineMax = 4096;

    protected override async Task OpenAsync(Stream stream, CancellationToken cancellationToken)
    {
        var commands = new ArrayBufferWriter<byte>();
        if (password.Length > 0)
            Command(commands, ["AUTH", password]);
        Command(commands, ["SELECT", database.ToString(CultureInfo.InvariantCulture)]);
        await stream.WriteAsync(commands.WrittenMemory, cancellationToken);
        for (var answers = password.Length > 0 ? 2 : 1; answers > 0; answers--)
        {
            if (await ReadLineAsync(stream, cancellationToken) is ['-', .. var problem])
                throw new PushException(problem, isFinal: false);
        }
    }

    protected override async Task SendAsync(Stream stream, IReadOnlyList<Sample> batch, CancellationToken cancellationToken)
    {
        var devices = batch.GroupBy(sample => sample.Device).ToList();
        var commands = new ArrayBufferWriter<byte>();
        foreach (var device in devices)
            Command(commands, ["ZADD", device.Key, .. device.SelectMany(sample => (string[])[sample.TimestampMs.ToString(CultureInfo.InvariantCulture), Member(sample)])]);
        await stream.WriteAsync(commands.WrittenMemory, cancellationToken);
        string? problem = null;
        foreach (var _ in devices)
        {
            if (await ReadLineAsync(stream, cancellationToken) is ['-', .. var text])
                problem ??= text;
        }

        // A key of that name that is no sorted set stays what it is; all else (loading, read-only, out of memory) passes.
        if (problem is not null)
            throw new PushException(problem, isFinal: problem.StartsWith("WRONGTYPE", StringComparison.Ordinal));
    }

    private static string Member(in Sample sample)
    {
        var bytes = new ArrayBufferWriter<byte>(192);
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteString("DeviceName"u8, sample.Device);
            json.WriteString("PropertyName"u8, sample.Property);
            json.WriteString("Namespace"u8, sample.Namespace);
            json.WriteString("Value"u8, sample.Value);
            json.WriteString("Type"u8, sample.Type);
            json.WriteNumber("TimeStamp"u8, sample.TimestampMs);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(bytes.WrittenSpan);
    }

    // *N CRLF, then for each $LENGTH CRLF TEXT CRLF
    private static void Command(ArrayBufferWriter<byte> commands, string[] parts)
    {
        Encoding.UTF8.GetBytes($"*{parts.Length}\r\n", commands);
        foreach (var part in parts)
        {
            Encoding.UTF8.GetBytes($"${Encoding.UTF8.GetByteCount(part)}\r\n", commands);
            Encoding.UTF8.GetBytes(part, commands);
            Encoding.UTF8.GetBytes("\r\n", commands);
        }
    }

    // One byte at a time: some bytes a batch.
    private static async Task<string> ReadLineAsync(Stream stream, CancellationToken cancellationToken)
    {
        var line = new List<byte>(64);
        var one = new byte[1];
        while (true)
        {
            await stream.ReadExactlyAsync(one, cancellationToken);
            if (one[0] == '\n' && line.Count > 0 && line[^1] == '\r')
                break;
            line.Add(one[0]);
            if (line.Count > LineMax)
                throw new PushException("its answer is none of Redis", isFinal: false);
        }

        var text = Encoding.UTF8.GetString([.. line[..^1]]);
        return text is ['+' or '-' or ':', ..] ? text : throw new PushException($"its answer is none of Redis: {(text.Length > 40 ? text[..40] : text)}", isFinal: false);
    }
}
