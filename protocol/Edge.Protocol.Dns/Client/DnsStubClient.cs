using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

namespace Edge.Protocol.Dns.Client;

/// <summary>How a stub client asks.</summary>
public sealed class DnsStubOptions
{
    /// <summary>How long one try over UDP waits, milliseconds.</summary>
    public int UdpTryMs { get; init; } = 1500;

    /// <summary>Tries over UDP, each with another id and port.</summary>
    public int UdpTries { get; init; } = 3;

    /// <summary>How long an exchange over TCP may take, milliseconds.</summary>
    public int TcpMs { get; init; } = 5000;

    /// <summary>Whether the letters of the question's name get random case and must come back so: bits that a forger has to guess (draft-vixie-dnsext-dns0x20). Some old servers fail at it.</summary>
    public bool RandomizeCase { get; init; }

    /// <summary>Only TCP.</summary>
    public bool TcpOnly { get; init; }
}

/// <summary>An exchange that brought no answer; the message says with whom and why.</summary>
public sealed class DnsExchangeException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Sends one query to one server and brings its answer: UDP first, TCP when that is truncated. Each try has a random id and a fresh port of the kernel's
/// random choice (RFC 5452 §9.2); an answer counts only from the asked address, with the id and the question. Safe for several exchanges at once.</summary>
public sealed class DnsStubClient(DnsStubOptions options, TimeProvider clock)
{
    /// <param name="query">A whole query; its id, and with <see cref="DnsStubOptions.RandomizeCase"/> its name's case, are chosen here, and put back in the answer.</param>
    /// <param name="response">Where the answer goes; 65535 bytes hold any.</param>
    /// <returns>The answer's length: well formed up to its question, whatever its response code.</returns>
    /// <exception cref="DnsExchangeException">No answer in time, the server cannot be reached, or the answer does not fit.</exception>
    public async Task<int> ExchangeAsync(IPEndPoint server, ReadOnlyMemory<byte> query, Memory<byte> response, CancellationToken cancellationToken)
    {
        if (DnsQuery.TryRead(query.Span, out var parsed) != QueryStatus.Ok || !parsed.HasQuestion)
            throw new ArgumentException("no well-formed query with a question", nameof(query));
        var nameLength = parsed.Name.Length;
        var sent = query.ToArray();
        Exception? last = null;
        for (var attempt = 0; attempt < options.UdpTries && !options.TcpOnly; attempt++)
        {
            Randomize(sent, query.Span, nameLength);
            try
            {
                var length = await WithDeadlineAsync(token => OverUdpAsync(server, sent, nameLength, response, token), options.UdpTryMs, cancellationToken);
                if (!DnsHeader.TryRead(response.Span[..length], out var header) || header.IsTruncated)
                    break;
                return Restore(query.Span, nameLength, response.Span, length);
            }
            catch (Exception e) when (e is SocketException or TimeoutException)
            {
                last = e;
            }

            if (attempt == options.UdpTries - 1)
                throw new DnsExchangeException($"{server} did not answer over UDP in {options.UdpTries} tries of {options.UdpTryMs} ms: {last!.Message}", last);
        }

        Randomize(sent, query.Span, nameLength);
        try
        {
            var length = await WithDeadlineAsync(token => OverTcpAsync(server, sent, nameLength, response, token), options.TcpMs, cancellationToken);
            return Restore(query.Span, nameLength, response.Span, length);
        }
        catch (Exception e) when (e is SocketException or TimeoutException)
        {
            throw new DnsExchangeException($"{server} did not answer over TCP within {options.TcpMs} ms: {e.Message}", e);
        }
    }

    private async Task<int> WithDeadlineAsync(Func<CancellationToken, Task<int>> exchange, int ms, CancellationToken cancellationToken)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromMilliseconds(ms), clock);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            return await exchange(both.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException("no answer in time", e);
        }
    }

    private static async Task<int> OverUdpAsync(IPEndPoint server, byte[] query, int nameLength, Memory<byte> response, CancellationToken cancellationToken)
    {
        // Connected, so that the kernel drops what comes from elsewhere and reports a closed port.
        using var socket = new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(server, cancellationToken);
        await socket.SendAsync(query, SocketFlags.None, cancellationToken);
        while (true)
        {
            var length = await socket.ReceiveAsync(response, SocketFlags.None, cancellationToken);
            // A forged or stray answer must not end the wait for the true one (RFC 5452 §9.1).
            if (Matches(query, nameLength, response.Span[..length]))
                return length;
        }
    }

    private static async Task<int> OverTcpAsync(IPEndPoint server, byte[] query, int nameLength, Memory<byte> response, CancellationToken cancellationToken)
    {
        using var socket = new Socket(server.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(server, cancellationToken);
        var framed = new byte[2 + query.Length];
        BinaryPrimitives.WriteUInt16BigEndian(framed, (ushort)query.Length);
        query.CopyTo(framed, 2);
        for (var sent = 0; sent < framed.Length;)
            sent += await socket.SendAsync(framed.AsMemory(sent), SocketFlags.None, cancellationToken);
        var prefix = new byte[2];
        await FillAsync(server, socket, prefix, cancellationToken);
        int length = BinaryPrimitives.ReadUInt16BigEndian(prefix);
        if (length > response.Length)
            throw new DnsExchangeException($"{server} answered {length} bytes; {response.Length} fit");
        await FillAsync(server, socket, response[..length], cancellationToken);
        return Matches(query, nameLength, response.Span[..length]) ? length : throw new DnsExchangeException($"{server} answered another question over TCP");
    }

    private static async Task FillAsync(IPEndPoint server, Socket socket, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        while (buffer.Length > 0)
        {
            var read = await socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken);
            if (read == 0)
                throw new DnsExchangeException($"{server} closed the TCP connection before its answer was complete");
            buffer = buffer[read..];
        }
    }

    // Id, opcode, question byte for byte. FORMERR and NOTIMP may come without the question.
    private static bool Matches(ReadOnlySpan<byte> query, int nameLength, ReadOnlySpan<byte> answer)
    {
        if (!DnsHeader.TryRead(answer, out var header) || !header.IsResponse || !answer[..2].SequenceEqual(query[..2]) || ((answer[2] ^ query[2]) & 0x78) != 0)
            return false;
        if (header.Questions == 0)
            return header.Rcode is ResponseCode.FormatError or ResponseCode.NotImplemented or ResponseCode.Refused or ResponseCode.ServerFailure;
        var question = query.Slice(DnsLimits.Header, nameLength + 4);
        return header.Questions == 1 && answer[DnsLimits.Header..].StartsWith(question);
    }

    private void Randomize(byte[] sent, ReadOnlySpan<byte> query, int nameLength)
    {
        // What a forger has to guess: from the system's generator, not from a seed.
        Span<byte> random = stackalloc byte[2 + DnsLimits.Name];
        RandomNumberGenerator.Fill(random);
        random[..2].CopyTo(sent);
        if (!options.RandomizeCase)
            return;
        for (var i = 0; i < nameLength; i++)
        {
            var letter = query[DnsLimits.Header + i];
            if (char.IsAsciiLetter((char)letter) && (random[2 + i] & 1) != 0)
                sent[DnsLimits.Header + i] = (byte)(letter ^ 0x20);
            else
                sent[DnsLimits.Header + i] = letter;
        }
    }

    private static int Restore(ReadOnlySpan<byte> query, int nameLength, Span<byte> response, int length)
    {
        query[..2].CopyTo(response);
        if (BinaryPrimitives.ReadUInt16BigEndian(response[4..]) == 1)
            query.Slice(DnsLimits.Header, nameLength).CopyTo(response[DnsLimits.Header..]);
        return length;
    }
}
