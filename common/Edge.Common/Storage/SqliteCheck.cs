using Microsoft.Data.Sqlite;

namespace Edge.Common.Storage;

/// <summary>Looks whether a SQLite file is whole, beside a process that may be using it.</summary>
public static class SqliteCheck
{
    /// <summary><c>ok</c>, or what is wrong, in SQLite's words (PRAGMA quick_check). Nothing is changed.</summary>
    public static string Run(string path)
    {
        SqliteNative.EnsureLoaded();
        try
        {
            using var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Mode = SqliteOpenMode.ReadOnly, Pooling = false }.ToString());
            connection.Open();
            using var command = connection.CreateCommand();
            command.CommandText = "PRAGMA quick_check(1)";
            return command.ExecuteScalar() as string ?? "quick_check said nothing";
        }
        catch (SqliteException e)
        {
            return e.Message;
        }
    }
}
