using Edge.Common.Storage;
using Edge.Local;
using Microsoft.Data.Sqlite;

namespace Edge.Interop.Tests.Local;

/// <summary>The rows of objects in a node's edgecore.db, as another process than edgecore finds them.</summary>
internal static class EdgeRows
{
    /// <summary>The version that the node has of an object.</summary>
    /// <param name="node">Whose database.</param>
    /// <param name="key">namespace/kind/name, such as default/pod/web.</param>
    /// <returns>Its resourceVersion; null where the node has none of that key.</returns>
    public static string? Version(LocalNode node, string key)
    {
        using var connection = Open(node, SqliteOpenMode.ReadOnly);
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT CAST(rv AS TEXT) FROM objects WHERE key = $key";
        command.Parameters.AddWithValue("$key", key);
        return command.ExecuteScalar() as string;
    }

    /// <summary>Writes something else where an object's JSON is, as a failing disk does; edgecore must not run.</summary>
    /// <returns>Whether there is a row of that key.</returns>
    public static bool Overwrite(LocalNode node, string key, ReadOnlySpan<byte> json)
    {
        using var connection = Open(node, SqliteOpenMode.ReadWrite);
        using var command = connection.CreateCommand();
        command.CommandText = "UPDATE objects SET json = $json WHERE key = $key";
        command.Parameters.AddWithValue("$json", json.ToArray());
        command.Parameters.AddWithValue("$key", key);
        return command.ExecuteNonQuery() == 1;
    }

    private static SqliteConnection Open(LocalNode node, SqliteOpenMode mode)
    {
        SqliteDatabase.LoadLibrary();
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder
        {
            DataSource = Path.Combine(node.DataDirectory, "edgecore.db"),
            Mode = mode,
            Pooling = false,
        }.ToString());
        connection.Open();
        return connection;
    }
}
