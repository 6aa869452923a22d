using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Edge.Devices.Push;

/// <summary>MySQL and MariaDB, as KubeEdge's mappers fill them: a table <c>NAMESPACE/DEVICE/PROPERTY</c> (id, ts, field) for each property, made where it is missing; times are UTC.</summary>
/// <remarks>A batch is one transaction; one whose answer was lost is written twice. A table's name over 64 characters, the server's limit, ends in <c>~</c> and the first 16 hexadecimal
/// digits of its SHA-256.</remarks>
/// <param name="password">Empty for none. Never logged.</param>
internal sealed class MySqlTarget(string host, int port, string database, string userName, string password, TimeSpan timeout, TimeProvider time)
    : TcpTarget($"mysql {host}:{port}/{database}", host, port, timeout, time)
{
    private const int NameMax = 64;

    // Well below the server's smallest max_allowed_packet (1 MiB).
    private const int StatementMax = 256 * 1024;

    // ER_PARSE_ERROR, ER_WRONG_TABLE_NAME, ER_TOO_LONG_IDENT, ER_TRUNCATED_WRONG_VALUE_FOR_FIELD, ER_DATA_TOO_LONG: what is wrong with the samples themselves.
    private static readonly HashSet<int> s_final = [1064, 1103, 1059, 1366, 1406];

    // Tables that are known to be there; a new connection asks again.
    private readonly HashSet<string> _made = [];

    protected override async Task OpenAsync(Stream stream, CancellationToken cancellationToken)
    {
        _made.Clear();
        var packets = new MySqlPackets(stream);
        var greeting = MySqlGreeting.Read(Taken(await packets.ReadAsync(cancellationToken)));
        await packets.WriteAsync(MySqlGreeting.Answer(userName, NativePassword(password, greeting.Challenge), database), cancellationToken);
        var answer = Taken(await packets.ReadAsync(cancellationToken));

        // AuthSwitchRequest: 0xfe, the plugin's name, its challenge.
        if (answer is [0xfe, .. var request])
        {
            var end = Array.IndexOf(request, (byte)0);
            var plugin = end < 0 ? "mysql_old_password" : Encoding.ASCII.GetString(request, 0, end);
            if (plugin != "mysql_native_password")
                throw new PushException($"it wants {plugin} of user '{userName}'; this mapper speaks mysql_native_password alone: ALTER USER … IDENTIFIED WITH mysql_native_password", isFinal: false);
            await packets.WriteAsync(NativePassword(password, request[(end + 1)..].AsSpan().TrimEnd((byte)0)), cancellationToken);
            answer = Taken(await packets.ReadAsync(cancellationToken));
        }

        if (answer is not [0, ..])
            throw new PushException("its answer to the login is none of MySQL", isFinal: false);
        await AskAsync(packets, "SET NAMES utf8mb4", cancellationToken);
        await AskAsync(packets, "SET time_zone = '+00:00'", cancellationToken);
    }

    protected override async Task SendAsync(Stream stream, IReadOnlyList<Sample> batch, CancellationToken cancellationToken)
    {
        var packets = new MySqlPackets(stream);
        var tables = batch.GroupBy(TableOf).ToList();
        foreach (var table in tables)
        {
            // Outside of the transaction, which it would end.
            if (!_made.Contains(table.Key))
                await AskAsync(packets, $"CREATE TABLE IF NOT EXISTS {Quote(table.Key)} (id BIGINT AUTO_INCREMENT PRIMARY KEY, ts DATETIME(3) NOT NULL, field TEXT CHARACTER SET utf8mb4)", cancellationToken);
            _made.Add(table.Key);
        }

        await AskAsync(packets, "START TRANSACTION", cancellationToken);
        try
        {
            foreach (var table in tables)
            {
                foreach (var statement in Inserts(table.Key, table))
                    await AskAsync(packets, statement, cancellationToken);
            }

            await AskAsync(packets, "COMMIT", cancellationToken);
        }
        catch (PushException e) when (e.IsFinal)
        {
            await AskAsync(packets, "ROLLBACK", cancellationToken);
            throw;
        }
    }

    /// <summary>The table of a sample, at most 64 characters.</summary>
    internal static string TableOf(Sample sample)
    {
        var name = $"{sample.Namespace}/{sample.Device}/{sample.Property}";
        if (name.Length <= NameMax)
            return name;
        var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)))[..16];
        return $"{name[..(NameMax - hash.Length - 1)]}~{hash}";
    }

    /// <summary>SHA1(password) XOR SHA1(challenge, SHA1(SHA1(password))), which mysql_native_password is.</summary>
    internal static byte[] NativePassword(string password, ReadOnlySpan<byte> challenge)
    {
        if (password.Length == 0)
            return [];
#pragma warning disable CA5350 // the protocol's own
        var once = SHA1.HashData(Encoding.UTF8.GetBytes(password));
        var mask = SHA1.HashData([.. challenge, .. SHA1.HashData(once)]);
#pragma warning restore CA5350
        for (var i = 0; i < mask.Length; i++)
            mask[i] ^= once[i];
        return mask;
    }

    private static IEnumerable<string> Inserts(string table, IEnumerable<Sample> samples)
    {
        var head = $"INSERT INTO {Quote(table)} (ts, field) VALUES ";
        var text = new StringBuilder(head);
        foreach (var sample in samples)
        {
            if (text.Length > StatementMax)
            {
                yield return text.ToString();
                text.Clear().Append(head);
            }

            // As hexadecimal digits a value is itself whatever the server's sql_mode says of backslashes.
            var at = DateTimeOffset.FromUnixTimeMilliseconds(sample.TimestampMs).ToString("yyyy-MM-dd HH:mm:ss.fff", CultureInfo.InvariantCulture);
            text.Append(text.Length > head.Length ? ", " : "").Append(CultureInfo.InvariantCulture, $"('{at}', _utf8mb4 x'{Convert.ToHexString(Encoding.UTF8.GetBytes(sample.Value))}')");
        }

        yield return text.ToString();
    }

    private static string Quote(string name) => $"`{name.Replace("`", "``", StringComparison.Ordinal)}`";

    private static async Task AskAsync(MySqlPackets packets, string sql, CancellationToken cancellationToken)
    {
        packets.Begin();
        await packets.WriteAsync([0x03, .. Encoding.UTF8.GetBytes(sql)], cancellationToken); // COM_QUERY
        if (Taken(await packets.ReadAsync(cancellationToken)) is not [0, ..])
            throw new PushException("its answer is none of MySQL to a statement without rows", isFinal: false);
    }

    // ERR: 0xff, the code, '#' and five characters of SQL state (not before the login), the text.
    private static byte[] Taken(byte[] packet)
    {
        if (packet is not [0xff, var low, var high, .. var rest])
            return packet.Length > 0 ? packet : throw new PushException("it sent an empty packet", isFinal: false);
        var code = low | (high << 8);
        throw new PushException($"it answered {code} {Encoding.UTF8.GetString(rest is [(byte)'#', _, _, _, _, _, .. var text] ? text : rest)}", s_final.Contains(code));
    }
}
