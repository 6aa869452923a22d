using System.Buffers;
using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Edge.Protocol.Dns;

namespace Edge.Core.EdgeDns;

/// <summary>Asks upstreams over UDP, and over TCP where the answer was cut (RFC 7766 §5). Each query has a port and an id of its own, from the system's secure random (RFC 5452 §4).</summary>
internal sealed class UpstreamClient : IUpstreamClient
{
    private const ushort PayloadSize = DnsLimits.SafeUdp;

    public async Task<DnsAnswer> AskAsync(IPEndPoint upstream, DnsQuestion question, CancellationToken cancellationToken)
    {
        var id = BinaryPrimitives.ReadUInt16LittleEndian(RandomNumberGenerator.GetBytes(2));
        var query = Write(id, question);
        try
        {
            return await OverUdpAsync(upstream, query, id, question, cancellationToken) ?? await OverTcpAsync(upstream, query, id, question, cancellationToken);
        }
        catch (SocketException e)
        {
            throw new UpstreamException(e.SocketErrorCode == SocketError.ConnectionRefused ? "nobody listens there" : e.Message, e);
        }
        catch (IOException e)
        {
            throw new UpstreamException(e.Message, e);
        }
    }

    private static byte[] Write(ushort id, DnsQuestion question)
    {
        var buffer = new byte[DnsLimits.PlainUdp];
        var writer = new DnsWriter(buffer, buffer.Length, id, DnsFlags.RecursionDesired);
        // A name of 255 bytes, type, class and an OPT record are less than 512.
        writer.TryWriteQuestion(question.Name.Wire, question.Type, RecordClass.IN);
        writer.TryBeginOpt(PayloadSize, ResponseCode.NoError, dnssecOk: false);
        return buffer[..writer.Finish()];
    }

    // Null when the answer was cut.
    private static async Task<DnsAnswer?> OverUdpAsync(IPEndPoint upstream, byte[] query, ushort id, DnsQuestion question, CancellationToken cancellationToken)
    {
        using var socket = new Socket(upstream.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(upstream, cancellationToken);
        await socket.SendAsync(query, cancellationToken);
        var buffer = ArrayPool<byte>.Shared.Rent(4096);
        try
        {
            while (true)
            {
                var length = await socket.ReceiveAsync(buffer.AsMemory(0, 4096), cancellationToken);
                // Anything else than the answer to this question is somebody's guess: the true one may still come.
                if (Matches(buffer.AsSpan(0, length), id, question, out var isCut))
                    return isCut ? null : Read(buffer.AsSpan(0, length));
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static async Task<DnsAnswer> OverTcpAsync(IPEndPoint upstream, byte[] query, ushort id, DnsQuestion question, CancellationToken cancellationToken)
    {
        using var socket = new Socket(upstream.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(upstream, cancellationToken);
        await using var stream = new NetworkStream(socket);
        var framed = new byte[query.Length + 2];
        BinaryPrimitives.WriteUInt16BigEndian(framed, (ushort)query.Length);
        query.CopyTo(framed, 2);
        await stream.WriteAsync(framed, cancellationToken);
        var head = new byte[2];
        await stream.ReadExactlyAsync(head, cancellationToken);
        var answer = new byte[BinaryPrimitives.ReadUInt16BigEndian(head)];
        await stream.ReadExactlyAsync(answer, cancellationToken);
        if (!Matches(answer, id, question, out var isCut) || isCut)
            throw new UpstreamException("its answer over TCP is not one to the question");
        return Read(answer);
    }

    private static bool Matches(ReadOnlySpan<byte> message, ushort id, DnsQuestion question, out bool isCut)
    {
        isCut = false;
        var reader = new DnsReader(message);
        Span<byte> name = stackalloc byte[DnsLimits.Name];
        if (reader.IsMalformed || reader.Header.Id != id || !reader.Header.IsResponse)
            return false;
        isCut = reader.Header.IsTruncated;
        if (!reader.TryReadQuestion(name, out var length, out var type, out var recordClass))
            return !reader.IsMalformed && reader.Header.Rcode is ResponseCode.FormatError or ResponseCode.ServerFailure or ResponseCode.NotImplemented or ResponseCode.Refused;
        return type == question.Type && recordClass == RecordClass.IN && WireName.Equal(name[..length], question.Name.Wire);
    }

    private static DnsAnswer Read(ReadOnlySpan<byte> message)
    {
        var reader = new DnsReader(message);
        var (answers, authority) = (new List<DnsRow>(), new List<DnsRow>());
        Span<byte> name = stackalloc byte[DnsLimits.Name];
        var data = ArrayPool<byte>.Shared.Rent(DnsLimits.Message);
        try
        {
            while (reader.TryReadRecord(out var record))
            {
                if (record.Section == Section.Additional || record.Class != RecordClass.IN)
                    continue;
                if (!reader.TryReadName(record, name, out var nameLength) || !reader.TryReadData(record, data, out var dataLength))
                    throw new UpstreamException("its answer is malformed");
                var row = new DnsRow(DnsName.FromWire(name[..nameLength]), record.Type, record.Ttl, data.AsSpan(0, dataLength).ToArray());
                if (record.Section == Section.Answer)
                    answers.Add(row);
                else if (record.Type == RecordType.SOA)
                    authority.Add(row); // the delegation is of no use to a stub
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(data);
        }

        return reader.IsMalformed ? throw new UpstreamException("its answer is malformed") : new DnsAnswer(reader.Header.Rcode, answers, authority);
    }
}
