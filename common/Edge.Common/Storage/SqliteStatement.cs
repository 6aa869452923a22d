using System.Text;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Edge.Common.Storage;

/// <summary>A prepared statement that goes past ADO.NET: for the few that run with every write, where parameter objects and readers cost more than SQLite itself. Parameters count from 1, columns from 0.
/// For one thread at a time; to be disposed before its connection.</summary>
public sealed class SqliteStatement : IDisposable
{
    private const int StackBytesMax = 512;

    private readonly sqlite3 _connection;
    private readonly sqlite3_stmt _statement;

    /// <exception cref="SqliteException">The SQL is wrong.</exception>
    public SqliteStatement(SqliteConnection connection, string sql)
    {
        _connection = connection.Handle!;
        SqliteException.ThrowExceptionForRC(raw.sqlite3_prepare_v2(_connection, sql, out _statement), _connection);
    }

    public void Bind(int parameter, string text)
    {
        if (text.Length == 0)
        {
            // An empty span has no address, of which SQLite would make NULL.
            Check(raw.sqlite3_bind_text(_statement, parameter, ""));
            return;
        }

        var max = Encoding.UTF8.GetMaxByteCount(text.Length);
        Span<byte> utf8 = max <= StackBytesMax ? stackalloc byte[StackBytesMax] : new byte[max];
        var length = Encoding.UTF8.GetBytes(text, utf8);
        Check(raw.sqlite3_bind_text(_statement, parameter, utf8[..length]));
    }

    public void Bind(int parameter, long number) => Check(raw.sqlite3_bind_int64(_statement, parameter, number));

    /// <param name="blob">Copied.</param>
    public void Bind(int parameter, ReadOnlySpan<byte> blob)
        => Check(blob.IsEmpty ? raw.sqlite3_bind_zeroblob(_statement, parameter, 0) : raw.sqlite3_bind_blob(_statement, parameter, blob));

    /// <summary>Runs it to its end; what is bound stays.</summary>
    /// <exception cref="SqliteException">SQLite refused it.</exception>
    public void Run()
    {
        while (Step())
        {
        }
    }

    /// <summary>The whole number in the first column of the first row; null when there is no row, or NULL in it.</summary>
    /// <exception cref="SqliteException">SQLite refused it.</exception>
    public long? RunForNumber()
    {
        if (!Step())
            return null;
        var number = raw.sqlite3_column_type(_statement, 0) == raw.SQLITE_NULL ? null : (long?)raw.sqlite3_column_int64(_statement, 0);
        _ = raw.sqlite3_reset(_statement);
        return number;
    }

    public void Dispose() => _statement.Dispose();

    // True when it stands on a row; else it is reset.
    private bool Step()
    {
        var code = raw.sqlite3_step(_statement);
        if (code == raw.SQLITE_ROW)
            return true;
        // The text of the error is the connection's until the next call.
        try
        {
            if (code != raw.SQLITE_DONE)
                SqliteException.ThrowExceptionForRC(code, _connection);
        }
        finally
        {
            _ = raw.sqlite3_reset(_statement);
        }

        return false;
    }

    private void Check(int code) => SqliteException.ThrowExceptionForRC(code, _connection);
}
