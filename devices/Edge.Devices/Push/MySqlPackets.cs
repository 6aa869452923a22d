using System.Buffers.Binary;
using System.Text;

namespace Edge.Devices.Push;

/// <summary>Packets of MySQL's protocol: three bytes of length (little endian), one of sequence, the payload.</summary>
internal sealed class MySqlPackets(Stream stream)
{
    // What servers answer here is small; what is larger is none of them.
    private const int AnswerMax = 64 * 1024;
    private byte _sequence;

    /// <summary>A new command begins, and with it the numbers.</summary>
    public void Begin() => _sequence = 0;

    public async Task<byte[]> ReadAsync(CancellationToken cancellationToken)
    {
        var head = new byte[4];
        await stream.ReadExactlyAsync(head, cancellationToken);
        var length = head[0] | (head[1] << 8) | (head[2] << 16);
        if (length > AnswerMax)
            throw new PushException("its answer is none of MySQL", isFinal: false);
        _sequence = (byte)(head[3] + 1);
        var payload = new byte[length];
        await stream.ReadExactlyAsync(payload, cancellationToken);
        return payload;
    }

    /// <param name="payload">Below 16 MiB.</param>
    public async Task WriteAsync(byte[] payload, CancellationToken cancellationToken)
        => await stream.WriteAsync((byte[])[(byte)payload.Length, (byte)(payload.Length >> 8), (byte)(payload.Length >> 16), _sequence++, .. payload], cancellationToken);
}

/// <summary>The server's first packet, HandshakeV10 (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_v10.html).</summary>
/// <param name="Challenge">20 bytes for the password's answer.</param>
internal sealed record MySqlGreeting(byte[] Challenge)
{
    // LONG_PASSWORD, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH
    private const uint Capabilities = 0x1 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000;
    private const int PacketMax = 16 * 1024 * 1024;
    private const byte Utf8Mb4 = 45;

    /// <exception cref="PushException">It is none.</exception>
    public static MySqlGreeting Read(byte[] packet)
    {
        // 10, version text with a zero, thread id (4), challenge (8), 0, capabilities (2), charset (1), status (2), capabilities (2), length of the challenge (1), ten zeros, the rest of it.
        var end = Array.IndexOf(packet, (byte)0);
        var first = end + 1 + 4;
        var second = first + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10;
        if (packet[0] != 10 || end < 0 || packet.Length < second + 12)
            throw new PushException("its greeting is none of MySQL", isFinal: false);
        return new MySqlGreeting([.. packet[first..(first + 8)], .. packet[second..(second + 12)]]);
    }

    /// <summary>HandshakeResponse41: capabilities, largest packet, charset, 23 zeros, user, answer with its length, database, plugin.</summary>
    public static byte[] Answer(string userName, byte[] password, string database)
    {
        var numbers = new byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(numbers, Capabilities);
        BinaryPrimitives.WriteUInt32LittleEndian(numbers.AsSpan(4), PacketMax);
        return
        [
            .. numbers, Utf8Mb4, .. new byte[23], .. Encoding.UTF8.GetBytes(userName), 0, (byte)password.Length, .. password, .. Encoding.UTF8.GetBytes(database), 0,
            .. "mysql_native_password"u8, 0,
        ];
    }
}
